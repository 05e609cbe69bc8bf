"""What `init` writes without a doubt passes `plan`: odd folders, each with the doubt that it must raise."""

import gzip
import json
import os
import random
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from medassets.testing.clip4mc import make_clip4mc_folder
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.cli.pairs import make_raw, write_tars
from medassets_tests.dicoms import write_series
from medassets_tests.trees import make_tree

Medassets = Callable[..., Any]
Make = Callable[[Path], object]

NAMES = [f"case_{number}.nii.gz" for number in range(4)]


def volumes(folder: Path, names: list[str] = NAMES) -> Path:
    """Write one volume under several names: each has a place of its own on the disk."""
    first = make_tree(folder, names[:1]) / names[0]
    for name in names[1:]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(first, folder / name)
    return folder


def table(folder: Path, text: str, name: str = "table.csv") -> None:
    volumes(folder)
    (folder / name).write_text(text)


def sheets(folder: Path, **frames: Mapping[str, list[Any]]) -> None:
    volumes(folder)
    with pd.ExcelWriter(folder / "table.xlsx") as writer:
        for name, cells in frames.items():
            pd.DataFrame(cells).to_excel(writer, sheet_name=name, index=False)


def npz(folder: Path, change: Callable[[Path], object] = lambda _: None) -> None:
    made = make_npz_tree(folder / "source", num_volumes=3)
    change(made.folder)
    made.folder.rename(folder / "npz")


def edit(path: str, old: str, new: str) -> Callable[[Path], object]:
    """Return a change of each file of a pattern; it must have an effect."""

    def change(folder: Path) -> None:
        for file in folder.rglob(path):
            text = file.read_text()
            assert old in text
            file.write_text(text.replace(old, new))

    return change


def series(folder: Path, *, strip: bool = False, directory: bytes | None = None) -> list[Path]:
    """Write two series, with a DICOMDIR or without the first 132 bytes and the meta group of each file."""
    paths: list[Path] = []
    for number in range(2):
        paths += write_series(folder / f"p{number}", number=number, num_slices=5).paths
    for path in paths if strip else ():
        content = path.read_bytes()
        path.write_bytes(content[content.index(b"\x08\x00", 132) :])
    if directory is not None:
        (folder / "DICOMDIR").write_bytes(directory)
    return paths


def tars(folder: Path, **changes: Any) -> None:
    samples = [make_raw(number) for number in range(4)]
    for sample in samples:
        sample["json"] = {**sample["json"], **changes}
    write_tars(folder, samples)


def ct_rate(folder: Path, change: Callable[[Path], object] = lambda _: None) -> None:
    change(make_ct_rate_repository(folder, num_patients=1, special_rows=False).folder)


def films(folder: Path, *, old: str = "", new: str = "") -> None:
    """Write videos with their records, in which a name of a field is another."""
    made = make_clip4mc_folder(folder, num_videos=3, num_frames=40)
    edit("metadata.json", f'"{old}"' if old else "", f'"{new}"' if new else "")(made.folder)


def films_of_others(folder: Path) -> None:
    made = make_clip4mc_folder(folder, num_videos=3, num_frames=40)
    for record in made.records:
        record["vid"] = f"x{record['vid'][1:]}"
    made.metadata.write_text(json.dumps(made.records))


CERTAIN: Mapping[str, Make] = {
    "volumes": volumes,
    "one volume": lambda f: volumes(f, NAMES[:1]),
    "folders of patients": lambda f: volumes(f, [f"p{n // 2}/scan_{n}.nii.gz" for n in range(6)]),
    "folders of splits": lambda f: volumes(f, [f"{s}/{n}.nii" for s in ("train", "val") for n in "ab"]),
    "a table": lambda f: table(f, "id,nodule\ncase_0,1\ncase_1,0\ncase_2,0\ncase_3,1\n"),
    "a table of most": lambda f: table(f, "id,nodule\ncase_0,1\ncase_1,0\ncase_9,0\n"),
    "a semicolon": lambda f: table(f, "id;nodule\ncase_0;1\ncase_1;0\ncase_2;0\n"),
    "a sheet": lambda f: sheets(f, one={"id": ["case_0", "case_1"], "mass": [0, 1]}),
    "series": series,
    "series of old": lambda f: series(f, strip=True),
    "a directory of junk": lambda f: series(f, directory=b"junk" * 100),
    "a directory of zeros": lambda f: series(f, directory=bytes(4096)),
    "arrays": npz,
    "arrays and short reports": lambda f: npz(
        f, edit("*report*.csv", "ClinicalInformation_EN", "Something")
    ),
    "tars": tars,
    "the layout of CT-RATE": ct_rate,
    "films": films,
}  # fmt: skip
"""Folders that raise no doubt, so that their plan must pass."""

DOUBTED: Mapping[str, tuple[Make, tuple[str, ...]]] = {
    "a table of strangers": (
        lambda f: table(f, "id,nodule\nA1,1\nB2,0\n"),
        ("no column names files", "'A1', 'B2'", "case_0.nii.gz and case_1.nii.gz", "--columns file="),
    ),
    "a sheet of strangers": (
        lambda f: sheets(f, one={"id": ["A1", "B2"], "mass": [0, 1]}),
        ("table.xlsx is not used", "'A1', 'B2'", "--columns file="),
    ),
    "several sheets": (
        lambda f: sheets(f, one={"id": ["case_0"]}, two={"a": [1]}),
        ("found 2 (one, two)", "--columns sheet=NAME"),
    ),
    "a decimal comma": (
        lambda f: table(f, 'id,score\ncase_0,"0,5"\ncase_1,"0,75"\ncase_2,1\n'),
        ("column score: numbers with a decimal comma, such as '0,5'", "write 0.5"),
    ),
    "colliding keys": (
        lambda f: volumes(f, ["a.b.nii.gz", "a b.nii.gz", "c.nii.gz", "d.nii.gz"]),
        ("a.b.nii.gz", "make one sample key", "--set max_excluded_share=0.5"),
    ),
    "one bad row": (
        lambda f: table(f, "id,nodule,split\n" + "".join(f"case_{n},0,{'train' * (n < 3)}\n" for n in range(4))),
        ("--set max_excluded_share=0.25",),
    ),
    "rows that differ": (
        lambda f: table(f, "id,nodule\ncase_0,1\ncase_0,0\ncase_1,0\n"),
        ("rows 2 and 3 are about case_0.nii.gz but differ",),
    ),
    "an empty file": (
        lambda f: (volumes(f) / NAMES[0]).write_bytes(b""),
        ("case_0.nii.gz", "cannot be read"),
    ),
    "a file of something else": (
        lambda f: (volumes(f) / NAMES[0]).write_bytes(gzip.compress(b"no header" * 99)),
        ("case_0.nii.gz", "cannot be read"),
    ),
    "arrays without findings": (
        lambda f: npz(f, edit("*report*.csv", "Findings_EN", "findings")),
        ("lacks Findings_EN", "is not used"),
    ),
    "an array of another depth": (
        lambda f: npz(f, lambda top: shutil.copy(next(top.rglob("*.npz")), top / "npz" / "x.npz")),
        ("--set max_excluded_share=",),
    ),
    "arrays of other studies": (
        lambda f: npz(f, lambda top: [p.rename(p.with_name(f"x{p.name}")) for p in top.rglob("*.npz")]),
        ("nothing to build", "not in npz/dataset/metadata"),
    ),
    "films of other videos": (
        films_of_others,
        ("nothing to build", "missing_source"),
    ),
    "a spreadsheet of arrays": (
        lambda f: npz(f, lambda top: pd.DataFrame({"VolumeName": ["a"]}).to_excel(top / "t.xlsx")),
        ("t.xlsx is not used", "save it as CSV"),
    ),
    "a damaged tar": (
        lambda f: (tars(f), (f / "raw-000001.tar").write_bytes(b"no tar" * 99)),
        ("raw-000001.tar",),
    ),
    "a series that lacks a slice": (
        lambda f: series(f)[2].unlink(),
        ("--set max_excluded_share=",),
    ),
    "the layout of CT-RATE without sizes": (
        lambda f: ct_rate(f, edit("*metadata*.csv", "ZSpacing", "Spacing")),
        ("ZSpacing",),
    ),
    "the layout of CT-RATE without a list": (
        lambda f: ct_rate(f, lambda top: [one.unlink() for one in top.rglob("*no_chest*")]),
        ("no_chest",),
    ),
    "films without a begin": (
        lambda f: films(f, old="begin position", new="begin_time"),
        ("'begin position' or 'begin'", "the nearest is 'begin_time'", "nothing to build"),
    ),
    "films without an id": (
        lambda f: films(f, old="vid", new="video_id"),
        ("no field 'vid'", "the nearest is 'video_id'", "every video is one clip without text"),
    ),
    "films with text of another name": (
        lambda f: films(f, old="transcript clip", new="caption"),
        ("'transcript clip' or 'transcript'", "found caption, size"),
    ),
}  # fmt: skip
"""Folders that raise doubts, and words of these."""


FAST = frozenset({"a table of most", "colliding keys", "a table of strangers"})


def declare(medassets: Medassets, folder: Path, *options: str) -> list[str]:
    ran = medassets("init", str(folder), "--name", "odd", "--yes", "--json", *options)
    assert ran.code == 0, ran.err
    return ran.document["doubts"]


def mark(names: Iterable[str]) -> list[Any]:
    """Return names as parameters; those of sources that have fast tests of their own are slow."""
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", mark(CERTAIN))
def test_what_init_writes_without_a_doubt_passes_plan(
    medassets: Medassets, tmp_path: Path, name: str
) -> None:
    CERTAIN[name](tmp_path / "odd")
    assert declare(medassets, tmp_path / "odd") == []
    planned = medassets("plan", "odd", "--json")
    assert planned.code == 0, planned.err
    assert planned.document["new_shards"]
    look = planned.document["looked_at"]
    assert look is None or (look["faults"], look["num_looked"]) == ({}, look["num_planned"])


@pytest.mark.parametrize("name", mark(DOUBTED))
def test_what_a_plan_would_refuse_is_a_doubt_in_words(
    medassets: Medassets, tmp_path: Path, name: str
) -> None:
    make, words = DOUBTED[name]
    make(tmp_path / "odd")
    doubts = " | ".join(declare(medassets, tmp_path / "odd"))
    assert doubts
    assert [word for word in words if word not in doubts] == [], doubts


@pytest.mark.slow
def test_of_a_large_folder_it_is_said_that_the_plan_was_not_tried(
    medassets: Medassets, tmp_path: Path
) -> None:
    volumes(tmp_path / "odd")
    (tmp_path / "odd" / "notes.json").touch()
    os.truncate(tmp_path / "odd" / "notes.json", 33 << 20)
    (doubt,) = declare(medassets, tmp_path / "odd")
    assert "too much to try the plan here" in doubt


NUM_SEEDS = 16
_STEMS = (
    "case_0",
    "case 0",
    "Case_0",
    "case.1",
    "001",
    "1",
    "é",
    "mask",
    "x_seg",
    "s_0000",
    "train",
    ".hid",
)
_FOLDERS = ("", "", "p1/", "p2/", "train/", "val/", "test/p1/", "p 1/", "labels/")
_COLUMNS = ("id", "name", "patient", "split", "nodule", "grade", "report", "score")


def scatter(folder: Path, seed: int) -> None:
    """Write volumes with a table, both as careless as those of people."""
    chance = random.Random(seed)
    endings = chance.choice([(".nii.gz",), (".nii.gz", ".nii")])
    names = {chance.choice(_FOLDERS) + chance.choice(_STEMS) for _ in range(chance.randint(1, 9))}
    paths = [name + chance.choice(endings) for name in sorted(names)]
    first = make_tree(folder / "first", ["a.nii.gz", "a.nii"])
    for path in paths:
        (folder / "odd" / path).parent.mkdir(parents=True, exist_ok=True)
        source = first / f"a{path[path.index('.nii') :]}"
        content = source.read_bytes()
        (folder / "odd" / path).write_bytes(content if chance.random() < 0.97 else content[:40])
    for number in range(chance.choice([0, 1, 1, 1, 2])):
        write_table(folder / "odd" / f"table{number}", paths, chance)


def write_table(place: Path, paths: list[str], chance: random.Random) -> None:
    columns = chance.sample(_COLUMNS, chance.randint(1, len(_COLUMNS)))
    rows = chance.choices(paths, k=chance.randint(0, 3)) + (paths if chance.random() < 0.8 else [])
    cells = [[make_cell(column, path, chance) for column in columns] for path in rows]
    frame = pd.DataFrame(cells, columns=columns)
    match chance.choice(["csv", "csv", "semicolon", "latin", "xlsx", "parquet"]):
        case "xlsx":
            frame.to_excel(place.with_suffix(".xlsx"), index=chance.random() < 0.3)
        case "parquet":
            frame.to_parquet(place.with_suffix(".parquet"))
        case "latin":
            frame.to_csv(place.with_suffix(".csv"), index=False, encoding="latin-1")
        case "semicolon":
            frame.to_csv(place.with_suffix(".csv"), index=False, sep=";")
        case _:
            frame.to_csv(place.with_suffix(".csv"), index=False)


def make_cell(column: str, path: str, chance: random.Random) -> str:
    name = path.rpartition("/")[2]
    match column:
        case "id" | "name":
            return chance.choice([path, name, name.partition(".nii")[0], name, "stranger"])
        case "patient":
            return chance.choice(["p1", "p2", "001", ""])
        case "split":
            return chance.choice(["train", "train", "val", "test", "other", ""])
        case "report":
            return chance.choice(
                ["A nodule is seen in the left lung, and nothing else.", "", "n/a"]
            )
        case "score":
            return chance.choice(["0,5", "1,25", "2"])
        case _:
            return chance.choice(["0", "1", "", "1.0", "3" if column == "grade" else "0"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(NUM_SEEDS))
def test_no_scattered_folder_is_declared_without_a_doubt_and_refused_by_plan(
    medassets: Medassets, tmp_path: Path, seed: int
) -> None:
    scatter(tmp_path, seed)
    ran = medassets("init", str(tmp_path / "odd"), "--name", "odd", "--yes", "--json")
    if ran.code != 0:
        # Refused, with a remedy, and nothing was written.
        assert (ran.code, "--" in ran.err or "PATH" in ran.err) == (2, True), ran.err
        return
    planned = medassets("plan", "odd", "--json")
    assert "Traceback" not in planned.err
    if not ran.document["doubts"]:
        assert planned.code == 0, planned.err
    if planned.code != 0:
        assert any("plan will fail" in d or "nothing to build" in d for d in ran.document["doubts"])
