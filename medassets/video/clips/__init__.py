"""mp4 clips cut from a video."""
