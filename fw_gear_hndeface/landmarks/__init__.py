"""Sources of facial landmarks, one per file, and their consensus."""
