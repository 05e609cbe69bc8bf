"""Rotation and mirroring of stored pictures."""

import numpy as np
import pytest

from medassets.video.files.orientation import Orientation, parse_display_matrix


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_display_matrix_is_read_as_it_moves_points(rotation: int, mirrored: bool) -> None:
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    for matrix in ([1, 0, 0, 1], [0, 1, -1, 0], [-1, 0, 0, -1], [0, -1, 1, 0],
                   [-1, 0, 0, 1], [0, 1, 1, 0], [1, 0, 0, -1], [0, -1, -1, 0]):  # fmt: skip
        a, b, c, d = matrix
        words = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 14], np.int32) << 16
        orientation = parse_display_matrix(words.tobytes())
        if orientation != Orientation(rotation, mirrored):
            continue
        shown: dict[tuple[int, int], int] = {}
        for (y, x), value in np.ndenumerate(picture[..., 0]):
            shown[a * x + c * y, b * x + d * y] = int(value)
        left, top = (min(point[axis] for point in shown) for axis in (0, 1))
        turned = orientation.apply(picture)
        assert {(x - left, y - top): v for (x, y), v in shown.items()} == {
            (x, y): int(value) for (y, x), value in np.ndenumerate(turned[..., 0])
        }
        return
    pytest.fail("no matrix is read as this")


def test_a_matrix_between_quarter_turns_is_the_nearest() -> None:
    for degrees, expected in ((10, 0), (80, 90), (100, 90), (-30, 0), (170, 180), (-80, 270)):
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        words = np.array([cosine, sine, 0, -sine, cosine, 0, 0, 0, 1]) * 65536
        assert parse_display_matrix(words.astype(np.int32).tobytes()) == Orientation(expected)
