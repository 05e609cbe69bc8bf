"""From raw videos to the frames and clips of training samples; no Dagster here."""
