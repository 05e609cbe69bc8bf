"""The Dagster instance of a home: its folder and settings, its processes, and its runs."""
