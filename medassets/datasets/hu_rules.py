"""Which HU rules a declaration can follow, and what it expects of HU."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from medassets.errors import SpecError
from medassets.specs import CTSourceSpec


def check_array_rule(spec: CTSourceSpec, *, may_be_unknown: bool = False) -> None:
    """Check the HU rule of volumes without headers.

    Args:
        spec: The declaration.
        may_be_unknown: Whether stored values may be kept without a rule.

    Raises:
        SpecError: If the rule needs a header, or none is declared.
    """
    if not spec.is_hu:
        return
    if spec.hu_rule == "header":
        what = f"arrays of source {spec.source} have no header; use none or table"
        raise SpecError(field="hu_rule", what=what)
    if spec.hu_rule is None and not may_be_unknown:
        # Whether values were rescaled already cannot be seen in an array with certainty.
        what = (
            f"source {spec.source} must say how stored values become HU: none (they are HU already) "
            f"or table (RescaleSlope and RescaleIntercept apply)"
        )
        raise SpecError(field="hu_rule", what=what)


def check_table_rule(spec: CTSourceSpec, rows: pa.Table) -> None:
    """Refuse to assume that stored values are HU where a table states how they become HU.

    Headers are mostly blank in such a source, and a table of the same form describes volumes with HU
    applied and without.

    Args:
        spec: The declaration.
        rows: Rows of the catalog, with slope and intercept of the tables.

    Raises:
        SpecError: If no rule is declared, and the tables of planned rows scale.
    """
    if spec.hu_rule is not None or not spec.is_hu:
        return
    columns = ("key", "excluded", "rescale_slope", "rescale_intercept")
    planned = [row for row in rows.select(columns).to_pylist() if row["excluded"] is None]
    scaled = [row for row in planned if _states_scaling(row)]
    if not scaled:
        return
    first = scaled[0]
    what = (
        f"the tables of {len(scaled)} of {len(planned)} volumes state a scaling (of {first['key']}: "
        f"RescaleSlope {first['rescale_slope']}, RescaleIntercept {first['rescale_intercept']}), and nothing says whether it was applied. Declare none "
        f"(stored values are HU already, as in the *_fixed volumes of CT-RATE), table (apply it) or "
        f"header (the files state it)"
    )
    raise SpecError(field="hu_rule", what=what)


def describe_limits(spec: CTSourceSpec) -> dict[str, Any]:
    """Return what a declaration expects of the share of air, for its fingerprint; empty by default."""
    return {"air_share": list(spec.expected_air_share)} if spec.expected_air_share else {}


def _states_scaling(row: Mapping[str, Any]) -> bool:
    return row["rescale_slope"] not in (None, 1) or row["rescale_intercept"] not in (None, 0)
