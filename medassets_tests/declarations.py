"""Declarations of CT volumes that are valid, to be changed field by field."""

from medassets.specs import VolumeDatasetSpec

NPZ: dict[str, object] = {
    "source": "npz",
    "repo_id": "",
    "folder": "/data",
    "splits": ("train",),
    "meta_file": "meta.csv",
    "reports_file": "/tables/reports.csv",
    "labels_file": "~/labels.csv",
    "hu_rule": "none",
}
TARS: dict[str, object] = {
    "source": "webdataset",
    "repo_id": "",
    "shards": "/data/{split}/shard-{000000..000009}.tar",
    "hu_rule": "table",
}


def make_spec(**changes: object) -> VolumeDatasetSpec:
    """Return a declaration of volumes on the Hub, with changes."""
    return VolumeDatasetSpec(**{"name": "ct", "repo_id": "org/name", **changes})  # pyright: ignore[reportArgumentType]
