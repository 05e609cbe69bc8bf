"""Measurements of speed and memory, beside other tools and beside the floor.

`python -m benchmarks` prints all tables. Needs `pip install -e '.[bench]'`.
"""
