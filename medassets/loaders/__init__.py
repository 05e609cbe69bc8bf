"""PyTorch datasets and loaders for published shards."""

from medassets.loaders.clips import ClipDataset
from medassets.loaders.config import Loaders, build_loaders
from medassets.loaders.loader import Loader
from medassets.loaders.order import EpochOrder
from medassets.loaders.stream import VolumeStream
from medassets.loaders.volumes import VolumeDataset
from medassets.loaders.webdatasets.pipeline import open_webdataset
from medassets.loaders.windows.dataset import CTWindowSparseSDF

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
