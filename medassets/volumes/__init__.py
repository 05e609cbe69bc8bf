"""CT volumes: reading, geometry, Hounsfield units, resampling."""
