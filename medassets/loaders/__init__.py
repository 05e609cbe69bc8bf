"""PyTorch datasets and loaders for published shards."""

from typing import TYPE_CHECKING, Any

from medassets.loaders.clips import ClipDataset
from medassets.loaders.config import Loaders, build_loaders
from medassets.loaders.loader import Loader
from medassets.loaders.order import EpochOrder
from medassets.loaders.stream import VolumeStream
from medassets.loaders.volumes import VolumeDataset
from medassets.loaders.windows.dataset import CTWindowSparseSDF

if TYPE_CHECKING:
    from medassets.loaders.webdatasets.pipeline import open_webdataset

__all__ = [
    "CTWindowSparseSDF",
    "ClipDataset",
    "EpochOrder",
    "Loader",
    "Loaders",
    "VolumeDataset",
    "VolumeStream",
    "build_loaders",
    "open_webdataset",
]


def __getattr__(name: str) -> Any:
    """Import `open_webdataset` when it is asked for: the other loaders do without `webdataset`."""
    if name != "open_webdataset":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from medassets.loaders.webdatasets.pipeline import open_webdataset

    return open_webdataset
