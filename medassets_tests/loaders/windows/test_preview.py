"""Pictures of a batch of windows, beside those drawn point by point."""

import numpy as np
import pytest
import torch

from medassets.loaders import CTWindowSparseSDF


def draw_slowly(samples: list[dict[str, torch.Tensor]], resolution: int) -> np.ndarray:
    """Draw one picture per sample, point by point."""
    pictures = np.zeros((len(samples), 1, 384, 512), np.float32)
    for sample, picture in zip(samples, pictures, strict=True):
        for (i, j, k), value in zip(
            sample["sparse_index"].tolist(), sample["sparse_sdf"][:, 0].tolist(), strict=True
        ):
            a, b, c = (min(int(n / (resolution / 128)), 127) for n in (i, j, k))
            for column, at in enumerate((32, 53, 74, 96)):
                for row, (across, x, y) in enumerate(((c, a, b), (a, b, c), (b, a, c))):
                    if across == at:
                        spot = (0, row * 128 + x, column * 128 + y)
                        picture[spot] = max(picture[spot], value)
    return pictures


@pytest.mark.parametrize("resolution", [128, 512, 600])
def test_pictures_show_four_slices_along_each_axis(resolution: int) -> None:
    rng = np.random.default_rng(0)
    samples = [
        {
            "sparse_index": torch.from_numpy(rng.integers(0, resolution, (4000, 3))),
            "sparse_sdf": torch.from_numpy(rng.normal(size=(4000, 1)).astype(np.float32)),
        }
        for _ in range(3)
    ]
    dataset = CTWindowSparseSDF("", resolution=resolution)
    got = dataset.visualize_sample(dataset.collate_fn(samples))
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got, draw_slowly(samples, resolution))


def test_a_batch_without_points_is_one_empty_picture() -> None:
    dataset = CTWindowSparseSDF("")
    empty = {"sparse_sdf": torch.zeros(0, 1), "sparse_index": torch.zeros(0, 3, dtype=torch.int64)}
    batch = dataset.collate_fn([empty])
    picture = dataset.visualize_sample(batch)
    assert picture.shape == (1, 1, 384, 512)
    assert not picture.any()
