"""What is on disk against what catalog and Dagster know: lost plans, lost records, leftovers."""
