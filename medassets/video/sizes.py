"""The metadata's `size`: how large what is spoken of stands in the picture, over the clip."""

from collections.abc import Sequence


def resample_sizes(sizes: Sequence[float], num_frames: int) -> list[float]:
    """Return one size per frame: that at the floor of k * len(sizes) / num_frames.

    Frames of a clip are chosen by the same rule, so that a size stays with its moment.

    Args:
        sizes: At least one, evenly spread over the clip.
        num_frames: Frames of the sample.

    Raises:
        ValueError: If there is no size.
    """
    if not sizes:
        msg = "sizes: expected at least one"
        raise ValueError(msg)
    return [sizes[k * len(sizes) // num_frames] for k in range(num_frames)]
