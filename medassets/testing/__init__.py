"""Helpers for tests and demos: synthetic data and a local Hub."""
