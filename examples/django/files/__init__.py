"""The Django app of the files."""
