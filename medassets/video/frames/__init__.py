"""Which frames a stretch of a video shows, and their decoding."""
