"""Head-and-neck CT defacing that leaves the medicine untouched."""

import os

# Our matrix products are (N, 3) by (3, 3): threads of the linear algebra library make them ten times slower, and their number
# would change the last digits of results. Read when numpy is first imported; who set it otherwise keeps it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"
