"""MetaImage and NRRD: headers parsed by us, for one may name any file of the machine as its data."""
