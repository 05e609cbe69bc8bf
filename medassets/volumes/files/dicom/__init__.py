"""DICOM files: headers by pydicom, geometry by us, pixels by SimpleITK one slice at a time."""
