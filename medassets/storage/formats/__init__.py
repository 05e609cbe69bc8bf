"""File formats of any content: arrays, tables, JSON records, zip members, byte streams."""
