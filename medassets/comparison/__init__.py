"""Tars against tars: samples made again from their originals, and compared."""
