"""Write segments of a video as mp4 clips."""
