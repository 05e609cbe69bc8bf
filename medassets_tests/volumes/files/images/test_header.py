"""Fields that both formats have, as numbers."""

import numpy as np
import pytest

from medassets.errors import SampleRejectedError
from medassets.volumes.files.images.header import (
    check_data_name,
    make_volume,
    read_numbers,
    read_sizes,
)


def test_columns_are_directions_times_steps() -> None:
    turned = np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    header = make_volume(
        (2, 3, 4), np.dtype("<i2"), spacing_mm=(1, 2, 3), directions=turned, origin=(5, 6, 7)
    )
    expected = [[0, -2, 0, -5], [-1, 0, 0, -6], [0, 0, 3, 7], [0, 0, 0, 1]]
    np.testing.assert_array_equal(header.affine, expected)
    assert header.pixdim_mm == (1, 2, 3)


def test_absurd_shapes_are_refused() -> None:
    for shape in ((0, 1, 1), (20_000, 1, 1), (16_000, 16_000, 16_000)):
        with pytest.raises(SampleRejectedError, match="claims a shape of"):
            make_volume(shape, np.dtype("u1"), spacing_mm=None, directions=None, origin=None)


def test_numbers_and_sizes_are_checked() -> None:
    assert read_numbers("x", "1 -2.5 1e3", 3) == [1, -2.5, 1000]
    assert read_sizes("x", "1 2 3") == [1, 2, 3]
    for text in ("1 2", "1 2 inf", "a b c", ""):
        with pytest.raises(SampleRejectedError, match="x: expected 3 finite numbers"):
            read_numbers("x", text, 3)
    for text in ("1 2", "1 2 -3", "1 2 3.0", "1 2 ²"):
        with pytest.raises(SampleRejectedError, match="x: expected three sides"):
            read_sizes("x", text)


@pytest.mark.parametrize("name", ["", "..", "a/b", "\\a", "a%d", "LIST", "list 3", "a\nb", "a\0b"])
def test_only_bare_names_are_names_of_data(name: str) -> None:
    assert check_data_name("a b.raw") == "a b.raw"
    with pytest.raises(SampleRejectedError, match="bare name"):
        check_data_name(name)
