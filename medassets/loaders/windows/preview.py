"""Preview image of sparse points: four slices along each axis, as training code logs them."""

import torch

_SIDE = 128
_NUM_SLICES = 4
_MOST_SAMPLES = 16


def draw_batch(
    values: torch.Tensor, index: torch.Tensor, batch_idx: torch.Tensor, *, resolution: int
) -> torch.Tensor:
    """Draw the samples of a batch as images.

    Args:
        values: Values, shape (num, 1).
        index: Positions (i, j, k), shape (num, 3).
        batch_idx: Sample of each point, shape (num,) or (num, 1).
        resolution: Side of the grid, drawn with 128 voxels.

    Returns:
        float32 (samples, 1, 384, 512) on the device of `values`, at most 16 samples. Rows from
        top: slices across the third, the first and the second axis; a voxel shows its largest value,
        at least 0. One empty image if there are no points.
    """
    samples = batch_idx.reshape(-1)
    if not samples.numel():
        return torch.zeros(1, 1, 3 * _SIDE, _NUM_SLICES * _SIDE, device=values.device)
    num_samples = min(int(samples.max()) + 1, _MOST_SAMPLES)
    kept = samples < num_samples
    voxels = (index[kept].double() * _SIDE / resolution).long().clamp(0, _SIDE - 1)
    linear = ((samples[kept] * _SIDE + voxels[:, 0]) * _SIDE + voxels[:, 1]) * _SIDE + voxels[:, 2]
    dense = torch.zeros(num_samples * _SIDE**3, device=values.device)
    dense.scatter_reduce_(0, linear, values[kept].reshape(-1).float(), "amax")
    grid = dense.view(num_samples, _SIDE, _SIDE, _SIDE)
    at = torch.linspace(_SIDE // 4, 3 * _SIDE // 4, _NUM_SLICES).long().tolist()
    # Each (samples, slices, rows, columns) becomes one row of the image, slices side by side.
    rows = (grid[..., at].movedim(-1, 1), grid[:, at], grid[:, :, at].movedim(2, 1))
    return torch.cat([_lay_side_by_side(row) for row in rows], dim=1).unsqueeze(1)


def _lay_side_by_side(slices: torch.Tensor) -> torch.Tensor:
    return slices.permute(0, 2, 1, 3).reshape(len(slices), _SIDE, _NUM_SLICES * _SIDE)
