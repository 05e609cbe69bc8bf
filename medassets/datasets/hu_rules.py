"""Which HU rules a source of arrays can follow."""

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
