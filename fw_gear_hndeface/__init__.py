"""Head-and-neck CT defacing that leaves the medicine untouched."""

__version__ = "0.1.0"
