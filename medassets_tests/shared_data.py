"""Real CT and video beside the checkout; tests that need them skip and say so where they are not."""

from pathlib import Path

CT = Path(__file__).parents[2] / "shared" / "data" / "ct"
VIDEO = Path(__file__).parents[2] / "shared" / "data" / "video"
CASES = Path(__file__).parents[2] / "shared" / "cases"
