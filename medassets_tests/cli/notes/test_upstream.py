"""What plan, status and build say of a source that moved while a build was half done."""

import gzip
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medassets.cli.notes.upstream import describe_left, describe_refresh
from medassets.datasets.upstream.move import Move, Upstream
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub

Medassets = Callable[..., Any]
Declare = Callable[..., Path]

NEW, OLD = "a" * 40, "b" * 40


def test_every_number_of_a_move_is_said() -> None:
    found = Upstream(
        NEW,
        Move(changed=2, new=3, gone=1, rows=4),
        Move(changed=1, gone=1),
        repinned=5,
        updated=2,
        dropped=1,
        lost=(OLD,),
    )
    assert describe_refresh(found, "ct") == [
        "upstream moved: 2 files changed, 3 new, 1 gone; other cells in 4 rows of tables; it is at "
        "aaaaaaaaaaaa",
        "no longer upstream: revision bbbbbbbbbbbb",
        "follow it: 5 samples never built",
        "made again: 2 samples of built shards",
        "left the plan, gone or excluded upstream: 1 sample never built",
        "kept as planned, other upstream: 1 sample; `medassets build ct --update` takes those of "
        "built shards, `--revision` those never built",
        "kept as planned, gone upstream: 1 sample",
    ]


def test_a_source_that_did_not_move_is_not_mentioned() -> None:
    assert describe_left(Upstream(NEW, Move(new=3)), "ct") == []
    lines = describe_left(Upstream(NEW, left=Move(gone=1)), "ct")
    assert lines == [
        "upstream moved: 0 files changed, 0 new, 1 gone",
        "kept as planned, gone upstream: 1 sample",
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository of seven volumes."""
    make_ct_rate_repository(tmp_path / "moving", splits=("train",), special_rows=False)
    return tmp_path / "moving"


@pytest.fixture
def hub(folder: Path, declare: Declare, tmp_path: Path) -> Iterator[LocalHub]:
    """The repository as dataset `moving`, in shards of two."""
    with LocalHub(folder, "org/moving", history=tmp_path / "history") as hub:
        changes = {"splits": ["train"], "samples_per_shard": 2, "max_rejected_share": 0.0}
        declare("moving", repo_id="org/moving", endpoint=hub.endpoint, **changes)
        yield hub


def upload_again(file: Path) -> None:
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[-1000] ^= 1
    file.write_bytes(gzip.compress(bytes(content), compresslevel=3, mtime=0))


def volumes_of(folder: Path, hub: LocalHub) -> tuple[int, int]:
    """Return the bytes of all volumes, and those that the hub has sent."""
    sizes = sum(file.stat().st_size for file in folder.rglob("*.nii.gz"))
    return sizes, sum(n for path, n in hub.sent_bytes().items() if path.endswith(".nii.gz"))


@pytest.mark.slow
def test_a_half_done_build_goes_on_after_a_squash_and_fetches_nothing_twice(
    medassets: Medassets, home: Path, folder: Path, hub: LocalHub
) -> None:
    first = medassets("build", "moving", "--partitions", "train-000000..train-000001", "--json")
    assert first.code == 0
    hub.squash()
    words = "upstream moved: 0 files changed, 0 new, 0 gone"
    for command in ("plan", "status"):
        ran = medassets(command, "moving")
        assert ran.code == 0
        assert words in ran.out
    ran = medassets("build", "moving", "--json")
    assert ran.code == 0
    assert (ran.document["kept"], len(ran.document["built"])) == (2, 2)
    total, sent = volumes_of(folder, hub)
    assert total == sent == first.document["fetched_bytes"] + ran.document["fetched_bytes"]
    assert ran.document["upstream"]["repinned"] == 3
    assert "upstream moved" not in medassets("status", "moving").out


@pytest.mark.slow
def test_changed_new_and_gone_files_are_said_and_taken_when_the_user_says_so(
    medassets: Medassets, home: Path, folder: Path, hub: LocalHub, tmp_path: Path
) -> None:
    assert medassets("build", "moving", "--partitions", "train-000000").code == 0
    grown = make_ct_rate_repository(
        tmp_path / "grown", num_patients=4, splits=("train",), special_rows=False
    )
    volumes = sorted(folder.rglob("*.nii.gz"))
    shutil.copytree(grown.folder, folder, dirs_exist_ok=True)
    upload_again(volumes[0])
    volumes[-1].unlink()
    hub.squash()
    words = "upstream moved: 1 file changed, 2 new, 1 gone"
    assert words in medassets("plan", "moving").out
    told = medassets("status", "moving", "--json").document["upstream"]
    assert told["moved"]
    assert told["move"] == {"changed": 1, "new": 2, "gone": 1, "rows": 0}
    built = medassets("build", "moving")
    assert built.code == 0
    assert words in built.out
    assert "fetched from the source:" in built.out
    left = medassets("status", "moving")
    assert left.code == 0
    assert "upstream moved: 1 file changed, 0 new, 0 gone" in left.out
    hub.forget_requests()
    updated = medassets("build", "moving", "--update")
    assert updated.code == 0
    assert {p for p in hub.sent_bytes() if p.endswith("gz")} == {
        volumes[0].relative_to(folder).as_posix()
    }
    assert "upstream moved" not in medassets("status", "moving").out
    hub.close()
    assert "upstream was not asked" in medassets("status", "moving").out


@pytest.mark.slow
def test_a_folder_has_no_revision_to_follow(
    medassets: Medassets, lungs: Callable[..., Path], home: Path
) -> None:
    for option in (("--revision", "main"), ("--update",)):
        ran = medassets("build", "lungs", *option)
        assert ran.code != 0
        assert option[0] in ran.err + ran.out
        assert medassets("plan", "lungs", *option).code == 2
    assert medassets("build", "lungs", "--update", "--no-refresh").code == 2
