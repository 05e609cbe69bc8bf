"""Datasets of every kind, healthy and damaged, whose source items must all be accounted for."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.specs import (
    CTWindowDatasetSpec,
    DatasetSpec,
    VideoClipDatasetSpec,
    VolumeDatasetSpec,
)
from medassets.testing.clip4mc import SyntheticVideos, make_clip4mc_folder
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.reclaim.tars import make_sample, write_tar

_COMMON = {"samples_per_shard": 2, "max_excluded_share": 1.0, "max_rejected_share": 0.5}


@dataclass(frozen=True)
class Case:
    """One declared dataset.

    Attributes:
        spec: The sort of its declaration.
        component: Its component.
        fields: The declaration.
        damage: Destroys files, so that some items of a shard are bad, of another most.
    """

    spec: type[DatasetSpec]
    component: str
    fields: dict[str, Any]
    damage: Callable[[], None]

    def declare(self, **changes: Any) -> DatasetSpec:
        """Return the declaration, with other fields where given."""
        fields = {**self.fields, **changes}
        frozen: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return self.spec(**frozen)


def make_case(kind: str, folder: Path, *, films: SyntheticVideos | None = None) -> Case:
    """Return a dataset of a kind below a folder.

    Args:
        kind: One of `CASES`.
        folder: Where its source is made.
        films: Videos to copy instead of making them.
    """
    return CASES[kind](folder, films)


def _ruin(places: list[Path]) -> None:
    """Destroy the first file, and of every six files two more that are neighbours."""
    for index, place in enumerate(places):
        if index % 6 in (0, 2, 3):
            place.write_bytes(b"no longer what it was")


def _make_ct_rate(folder: Path, _: SyntheticVideos | None) -> Case:
    made = make_ct_rate_repository(folder / "source", num_patients=3)
    places = sorted(made.folder.rglob("*.nii.gz"))
    fields = {
        "name": "lungs",
        "source": "folder",
        "folder": str(made.folder),
        "hu_rule": "none",
        "target_spacing_mm": [4.0, 4.0, 8.0],
        "target_shape": [24, 20, 12],
        **_COMMON,
    }
    return Case(VolumeDatasetSpec, "VolumeDatasetComponent", fields, lambda: _ruin(places))


def _make_windows(folder: Path, films: SyntheticVideos | None) -> Case:
    case = _make_ct_rate(folder, films)
    fields = {k: v for k, v in case.fields.items() if not k.startswith("target_")}
    fields |= {"name": "masks", "windows": ["lung"]}
    return Case(CTWindowDatasetSpec, "CTWindowDatasetComponent", fields, case.damage)


def _make_npz(folder: Path, _: SyntheticVideos | None) -> Case:
    tree = make_npz_tree(folder / "source", num_volumes=7, shape=(5, 7, 11))
    places = [tree.place(study) for study in sorted(tree.paths)]
    stray = places[0].parent / "train_99_a_1.npz"
    shutil.copyfile(places[0], stray)
    fields = tree.fields(name="scans", **_COMMON)
    return Case(VolumeDatasetSpec, "VolumeDatasetComponent", fields, lambda: _ruin(places))


def _make_tars(folder: Path, _: SyntheticVideos | None) -> Case:
    places = [folder / "source" / f"shard-{index:06d}.tar" for index in range(4)]

    def write(bad: dict[str, Any]) -> None:
        for index, place in enumerate(places):
            samples = [make_sample(2 * index + n) for n in range(2)]
            if index % 2:
                samples[0] |= bad
            write_tar(place, samples)

    def damage() -> None:
        # A volume that is not finite is found by the build, a tar that is cut off by the plan.
        nan = b"\xff\x7f" * (5 * 7 * 11)
        facts = {**make_sample(2)["json"], "dtype": "float16"}
        write({"bin": nan, "json": facts})
        places[0].write_bytes(places[0].read_bytes()[:700])

    write({})
    fields = {
        "name": "tars",
        "source": "webdataset",
        "folder": str(folder / "source"),
        "shards": "shard-*.tar",
        "splits": ["train"],
        "preprocessing": "none",
        "hu_rule": "table",
        "label_names": ["one", "two"],
        **_COMMON,
    }
    return Case(VolumeDatasetSpec, "VolumeDatasetComponent", fields, damage)


def _make_films(folder: Path, films: SyntheticVideos | None) -> Case:
    source = folder / "source"
    if films is None:
        films = make_clip4mc_folder(source, num_videos=3, num_frames=60)
    else:
        shutil.copytree(films.folder, source)
    videos = source / films.videos_dir.relative_to(films.folder)
    places = [videos / made.path.name for made in films.made.values()]
    fields = {
        "name": "films",
        "videos_dir": str(videos),
        "info_csv": str(source / films.info_csv.relative_to(films.folder)),
        "metadata": str(source / films.metadata.relative_to(films.folder)),
        "split_mode": "random",
        "clips": "copy",
        **_COMMON,
        "samples_per_shard": 3,
    }

    def damage() -> None:
        # Both ends of the file stay, so that the plan takes its clips and the decoder refuses them.
        content = places[0].read_bytes()
        begin, end = len(content) // 4, 3 * len(content) // 4
        places[0].write_bytes(content[:begin] + bytes(end - begin) + content[end:])
        places[1].unlink()

    return Case(VideoClipDatasetSpec, "VideoClipDatasetComponent", fields, damage)


CASES: dict[str, Callable[[Path, SyntheticVideos | None], Case]] = {
    "ct_rate": _make_ct_rate,
    "npz": _make_npz,
    "webdataset": _make_tars,
    "windows": _make_windows,
    "films": _make_films,
}
