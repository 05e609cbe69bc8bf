"""The catalog of a tree of files: their names, one table, patients and splits."""
