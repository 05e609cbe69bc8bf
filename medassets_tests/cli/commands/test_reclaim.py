"""Deleting sources from the terminal: never without the word, and told to the last file."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from medassets_tests.cli.scans import ASSET, KEYS, Scans
from medassets_tests.location import events_of
from medassets_tests.npz_source import (
    find_member,
    flip_byte,
)

pytestmark = pytest.mark.slow

NO_RECLAIM = "the declaration of scans keeps its sources"


# Everything below runs the command on real files and a real instance.
Medassets = Callable[..., Any]


def test_without_options_it_lists_files_and_bytes_and_deletes_nothing(
    scans: Scans, medassets: Medassets
) -> None:
    shown = medassets("reclaim", "scans")
    assert shown.code == 0
    for study in scans.originals.files:
        assert f"{study}.npz" in shown.out
    assert "5 sources would be deleted" in shown.out
    document = medassets("reclaim", "scans", "--json").document
    assert {Path(one["path"]).stem for one in document["would_delete"]} == set(scans.left)
    assert document["would_free_bytes"] == sum(map(len, scans.originals.files.values()))
    assert (document["confirmed"], document["deleted"]) == (False, [])
    assert scans.nothing_deleted()


def test_a_declaration_that_keeps_its_sources_has_no_asset_that_deletes(scans: Scans) -> None:
    def keys() -> set[dg.AssetKey]:
        with scans.shell.instance() as instance:
            definitions = scans.shell.location("scans", instance).definitions
        return set(definitions.resolve_asset_graph().get_all_asset_keys())

    assert ASSET in keys()
    scans.declare(delete_sources=False)
    assert ASSET not in keys()


def test_build_deletes_shard_by_shard_and_does_nothing_the_second_time(
    scans: Scans, medassets: Medassets
) -> None:
    shutil.rmtree(scans.shell.home)
    first = medassets("build", "scans", "--delete-sources", "--yes", "--json")
    assert first.code == 0, first.err
    deleted = first.document["reclaimed"]["deleted"]
    assert [Path(path).stem for path in deleted] == sorted(scans.originals.files)
    assert first.document["reclaimed"]["freed_bytes"] == sum(
        map(len, scans.originals.files.values())
    )
    scans.check_volumes()
    with scans.shell.instance() as instance:
        runs = instance.get_runs_count()
    again = medassets("build", "scans", "--delete-sources", "--yes", "--json").document
    assert (again["kept"], again["built"], again["reclaimed"]["deleted"]) == (3, [], [])
    with scans.shell.instance() as instance:
        # Catalog and manifest.
        assert instance.get_runs_count() == runs + 2
    assert medassets("verify", "scans").code == 0


# --- what stays


def test_files_held_by_a_limit_stay(scans: Scans, medassets: Medassets) -> None:
    shutil.rmtree(scans.shell.home)
    ran = medassets("build", "scans", "--limit", "3", "--delete-sources", "--yes", "--json")
    assert ran.code == 0, ran.err
    assert len(ran.document["reclaimed"]["deleted"]) == 3
    assert len(scans.left) == 2
    rest = medassets("build", "scans", "--delete-sources", "--yes", "--json")
    assert rest.code == 0, rest.err
    scans.check_volumes()
    assert scans.left == []


def test_a_flipped_byte_keeps_the_sources_of_its_shard_and_of_no_other(
    scans: Scans, medassets: Medassets
) -> None:
    study = scans.place(2).stem
    flip_byte(scans.shard(1), find_member(scans.shard(1), f"{study}.bin").offset_data + 5)
    ran = medassets("build", "scans", "--delete-sources", "--yes")
    assert ran.code == 1
    assert study in ran.err
    assert "nothing of train-000001 was deleted" in ran.out
    assert scans.left == [scans.place(2).stem, scans.place(3).stem]
    assert scans.green() == [KEYS[0], KEYS[2]]
    ran = medassets("reclaim", "scans", "--partitions", KEYS[1], "--delete-sources", "--yes")
    assert ran.code == 1
    evaluation = scans.check()
    assert evaluation is not None
    assert not evaluation.passed
    assert study in str(evaluation.metadata["troubles"].value)
    # Made again, the shard is whole, and its sources go.
    assert medassets("build", "scans", "--force", "--partitions", KEYS[1]).code == 0
    assert medassets("reclaim", "scans", "--delete-sources", "--yes").code == 0
    assert (scans.left, scans.green()) == ([], KEYS)


def test_a_changed_source_stays_until_it_is_converted_again(
    scans: Scans, medassets: Medassets
) -> None:
    place = scans.place(1)
    values = np.arange(5 * 7 * 11, dtype=np.int16).reshape(5, 7, 11)
    np.savez_compressed(place, data=values)
    ran = medassets("reclaim", "scans", "--delete-sources", "--yes", "--json")
    assert ran.code == 1
    assert any(line.startswith(f"{KEYS[0]}: ") for line in ran.document["troubles"])
    assert (scans.place(0).exists(), place.exists()) == (True, True)
    ran = medassets("build", "scans", "--delete-sources", "--yes", "--json")
    assert (ran.code, ran.document["built"]) == (0, [KEYS[0]])
    assert (scans.place(0).exists(), place.exists()) == (False, False)


def test_a_source_that_changes_when_its_neighbour_is_gone_stays(
    scans: Scans, medassets: Medassets
) -> None:
    place = scans.place(1)
    place.symlink_to(place.rename(scans.originals.tree.folder / "aside.npz"))
    ran = medassets("reclaim", "scans", "--delete-sources", "--yes", "--json")
    assert ran.code == 1
    assert [Path(one["path"]).name for one in ran.document["kept"]] == [place.name]
    place.unlink()
    np.savez_compressed(place, data=np.zeros((5, 7, 11), np.int16))
    ran = medassets("build", "scans", "--delete-sources", "--yes", "--json")
    # The file beside it, of the same shard, went before: the shard cannot be made again.
    assert ran.code == 1
    assert "its shard cannot be made again: under a new name it becomes a new sample" in ran.err
    assert "Traceback" not in ran.err
    assert place.exists()


def test_force_and_changed_declarations_leave_shards_without_sources_as_they_are(
    scans: Scans, medassets: Medassets
) -> None:
    ran = medassets("reclaim", "scans", "--partitions", KEYS[0], "--delete-sources", "--yes")
    assert ran.code == 0, ran.err
    before = scans.shard(0).read_bytes()
    scans.declare(max_rejected_share=1.0)
    forced = medassets("build", "scans", "--force", "--json")
    assert forced.code == 1
    assert list(forced.document["failed"]) == [KEYS[0]]
    assert forced.document["built"] == KEYS[1:]
    scans.declare(max_rejected_share=1.0, max_rounding_error=0.5)
    changed = medassets("build", "scans", "--delete-sources", "--yes", "--json")
    assert changed.code == 1
    # The others were made by the new declaration: while the two disagree, nothing more goes.
    refused = [f"reclaimed_sources/{key}" for key in KEYS[1:]]
    assert list(changed.document["failed"]) == [KEYS[0], *refused]
    assert len(scans.left) == 3
    assert scans.shard(0).read_bytes() == before
    scans.check_volumes()


def test_a_damaged_journal_stops_its_own_shard_only(scans: Scans, medassets: Medassets) -> None:
    assert (
        medassets("reclaim", "scans", "--partitions", KEYS[0], "--delete-sources", "--yes").code
        == 0
    )
    (journal,) = scans.journals()
    flip_byte(journal, 60)
    for command in (["reclaim", "scans"], ["reclaim", "scans", "--delete-sources", "--yes"]):
        ran = medassets(*command, "--json")
        assert ran.code == 1, ran.err
        assert any("journal of deleted sources" in line for line in ran.document["troubles"])
    assert scans.left == []
    ran = medassets("build", "scans", "--delete-sources", "--yes", "--json")
    assert ran.code == 1
    assert list(ran.document["failed"]) == [f"reclaimed_sources/{KEYS[0]}"]


def test_what_a_killed_run_deleted_comes_on_record(scans: Scans, medassets: Medassets) -> None:
    """It was killed before Dagster heard of it."""
    from medassets.reclaim.claims import Others
    from medassets.reclaim.partition import reclaim_partition

    with scans.shell.instance() as instance:
        workspace = scans.shell.location("scans", instance).workspace
        reclaim_partition(workspace, KEYS[0], confirmed=True, others=Others())
    assert scans.green() == []
    assert medassets("build", "scans", "--delete-sources", "--yes").code == 0
    assert scans.green() == KEYS


# --- Ctrl-C

Interrupted = tuple[str, dict[str, Any]]

PRESSING = """
import os, pathlib, signal, sys
from medassets.cli.main import run
unlink = pathlib.Path.unlink
place, instant = pathlib.Path(sys.argv[1]), sys.argv[2]
def unlink_and_press(path, *args, **kwargs):
    if (path, instant) == (place, "before"):
        os.kill(os.getpid(), signal.SIGINT)
    unlink(path, *args, **kwargs)
    if (path, instant) == (place, "after"):
        os.kill(os.getpid(), signal.SIGINT)
pathlib.Path.unlink = unlink_and_press
sys.exit(run(sys.argv[3:]))
"""


def interrupt(scans: Scans, *arguments: str, place: Path, instant: str) -> Interrupted:
    """Run the command, which gets Ctrl-C just before or after it deletes a file.

    Returns:
        The last line, and the JSON document.
    """
    ran = subprocess.run(
        [sys.executable, "-c", PRESSING, str(place), instant, *arguments],
        env=scans.shell.environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ran.returncode == 130, ran.stderr
    assert "Traceback" not in ran.stderr
    return ran.stderr.splitlines()[-1], json.loads(ran.stdout)


def test_ctrl_c_says_what_is_done_kept_and_deleted_and_the_next_run_goes_on(scans: Scans) -> None:
    shutil.rmtree(scans.shell.home)
    bad = scans.place(0)
    np.savez_compressed(bad, data=np.full((5, 7, 11), np.nan, np.float32))
    command = ["build", "scans", "--delete-sources", "--yes", "--json"]
    last, document = interrupt(scans, *command, place=scans.place(2), instant="after")
    assert document["interrupted"] is True
    gone = [place.stem for place in map(scans.place, range(1, 5)) if not place.exists()]
    assert gone == [scans.place(1).stem, scans.place(2).stem]
    assert [Path(path).stem for path in document["reclaimed"]["deleted"]] == gone
    assert last.startswith("interrupted after 2 shards; 2 sources deleted, ")
    assert f"1 source kept ({bad.relative_to(scans.originals.tree.folder)})" in last
    assert "`medassets build scans --delete-sources` continues" in last

    again = scans.shell.run(sys.executable, "-m", "medassets", *command)
    assert again.returncode == 0, again.stderr
    deleted = json.loads(again.stdout)["reclaimed"]["deleted"]
    assert [Path(path).stem for path in deleted] == [scans.place(3).stem, scans.place(4).stem]
    assert scans.green() == KEYS


@pytest.mark.parametrize(("number", "instant"), [(0, "after"), (1, "before")])
def test_ctrl_c_while_only_deleting_says_the_same(scans: Scans, number: int, instant: str) -> None:
    arguments = ["reclaim", "scans", "--delete-sources", "--yes", "--json"]
    last, document = interrupt(scans, *arguments, place=scans.place(number), instant=instant)
    assert document["interrupted"] is True
    assert [Path(path).stem for path in document["deleted"]] == [scans.place(0).stem]
    assert last.startswith("interrupted after 1 source deleted, ")
    assert last.endswith("0 sources kept; `medassets reclaim scans --delete-sources` continues")
    scans.check_volumes()


# --- Dagster's own command


def test_dagster_asset_materialize_needs_the_word(scans: Scans) -> None:
    def materialize(config: dict[str, Any] | None) -> subprocess.CompletedProcess[str]:
        ops = {"ops": {"scans__reclaimed_sources": {"config": config}}}
        more = ["--config-json", json.dumps(ops)] if config is not None else []
        select = ["--select", "scans/reclaimed_sources", "--partition", KEYS[0]]
        return scans.shell.materialize(*select, *more)

    assert materialize(None).returncode == 0
    wrong = materialize({"confirm": "delete"})
    assert wrong.returncode != 0
    assert "confirm: expected DELETE or nothing, got 'delete'" in wrong.stdout + wrong.stderr
    assert scans.nothing_deleted()
    with scans.shell.instance() as instance:
        observed = instance.fetch_observations(ASSET, limit=10).records
        assert len(observed) == 1
        assert events_of(instance, ASSET) == []
    right = materialize({"confirm": "DELETE"})
    assert right.returncode == 0, right.stderr
    assert (len(scans.left), scans.green()) == (3, KEYS[:1])
