"""The catalog of a tree of DICOM files: headers, series, and what of them is a volume."""
