"""Files of CT volumes as streams of slices: NIfTI and arrays."""
