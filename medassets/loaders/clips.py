"""Frames, tokens and sizes of video clips for PyTorch."""

import io
import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch.utils.data import Dataset

from medassets.loaders.members import ShardReader

FrameLayout = Literal["tchw", "thwc"]

_HEADER_BYTES = 1024


class ClipDataset(Dataset[dict[str, Any]]):
    """Clips of one split, map-style: exact length, random access by offset.

    A sample is a dict:

    - `frames`: uint8 (t, 3, h, w) or (t, h, w, 3), channels red, green, blue;
    - `tokens`: int64 (77,);
    - `size`: float32 (t,), NaN where the metadata has no sizes;
    - `text` and `key`.

    Args:
        manifest: `manifest.json` of a split's frames, such as
            `data/clip4mc/frames/train/manifest.json`.
        layout: Axes of `frames`. `tchw` is a view: its strides are those of (t, h, w, 3).

    Raises:
        ShardIntegrityError: If the file is no manifest.
        ValueError: If the layout is unknown.
    """

    def __init__(self, manifest: Path | str, *, layout: FrameLayout = "tchw") -> None:
        if layout not in get_args(FrameLayout):
            msg = f"layout: expected one of {', '.join(get_args(FrameLayout))}, got {layout!r}"
            raise ValueError(msg)
        self._reader = ShardReader(Path(manifest))
        self._layout = layout

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._reader)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one clip.

        Raises:
            IndexError: If there is no such clip.
            ShardIntegrityError: If the shard is damaged; names shard and sample.
        """
        wanted = ("npy", "tokens.npy", "size.json", "txt")
        sample, (npy, tokens, size, text) = self._reader.read(index, wanted)
        frames = torch.from_numpy(_view_npy(npy))
        sizes = json.loads(size) or [float("nan")] * len(frames)
        return {
            "frames": frames.permute(0, 3, 1, 2) if self._layout == "tchw" else frames,
            "tokens": torch.from_numpy(_view_npy(tokens)),
            "size": torch.tensor(sizes, dtype=torch.float32),
            "text": text.decode(),
            "key": sample.key,
        }


def _view_npy(content: bytearray) -> np.ndarray:
    """Return the array inside a `.npy` file of version 1.0, without a copy."""
    # The header is short; a BytesIO of the frames would copy them.
    file = io.BytesIO(content[:_HEADER_BYTES])
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape)
