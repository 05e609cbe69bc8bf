"""The page of fields is what its script makes of today's specs."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = DOCS / "make_fields.py"


def test_the_page_of_fields_is_made_from_todays_specs() -> None:
    made = runpy.run_path(str(SCRIPT))["make_page"]()
    page = (DOCS / "fields.md").read_text(encoding="utf-8")
    assert page == made, "run: python docs/make_fields.py"


def test_every_field_has_a_meaning() -> None:
    rows = [row for row in (DOCS / "fields.md").read_text().splitlines() if row.startswith("| `")]
    assert len(rows) > 80
    assert all(row.split(" | ")[-1].strip(" |") for row in rows)
