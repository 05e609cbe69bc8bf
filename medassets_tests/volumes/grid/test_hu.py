"""HU exactly once: which slope and intercept win."""

from typing import Any

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.files.header import VolumeHeader
from medassets.volumes.grid.hu import (
    HuDeclaration,
    choose_scaling,
)


def header(slope: float | None = None, intercept: float | None = None) -> VolumeHeader:
    return VolumeHeader(
        shape=(5, 7, 11),
        dtype=np.dtype("i2"),
        pixdim_mm=(1.0, 1.0, 1.0),
        affine=np.eye(4),
        affine_from="sform",
        slope=slope,
        intercept=intercept,
    )


@pytest.mark.parametrize(
    ("declared", "stated", "expected"),
    [
        (HuDeclaration("none"), header(), (1.0, 0.0)),
        (HuDeclaration("none"), header(1.0, 0.0), (1.0, 0.0)),
        (HuDeclaration("header"), header(), (1.0, 0.0)),
        (HuDeclaration("header"), header(2.0, -1024.0), (2.0, -1024.0)),
        (HuDeclaration("table", 1.0, -1024.0), header(), (1.0, -1024.0)),
        (HuDeclaration("table", 1.0, -1024.0), header(1.0, 0.0), (1.0, -1024.0)),
        (HuDeclaration("table", 1.0, -1024.0), header(1.0, -1024.0), (1.0, -1024.0)),
    ],
)
def test_one_scaling_is_chosen(declared: Any, stated: Any, expected: Any) -> None:
    scaling = choose_scaling(declared, stated)
    assert (scaling.slope, scaling.intercept) == expected
    assert scaling.rule == declared.rule


@pytest.mark.parametrize(
    "declared", [HuDeclaration("none"), HuDeclaration("table", 1.0, -1000.0)], ids=str
)
def test_a_header_that_says_otherwise_is_a_conflict(declared: Any) -> None:
    with pytest.raises(SampleRejectedError, match="but the header says") as caught:
        choose_scaling(declared, header(1.0, -1024.0))
    assert caught.value.reason is Reason.HU_RULE_CONFLICT


@pytest.mark.parametrize(
    ("slope", "intercept"), [(None, 0.0), (1.0, None), (0.0, 0.0), (np.nan, 0.0), (1.0, np.inf)]
)
def test_a_table_without_usable_values_is_missing(slope: Any, intercept: Any) -> None:
    with pytest.raises(SampleRejectedError, match="the table gives RescaleSlope") as caught:
        choose_scaling(HuDeclaration("table", slope, intercept), header())
    assert caught.value.reason is Reason.HU_RULE_MISSING
