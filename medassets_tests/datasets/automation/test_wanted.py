"""Which shards want making now."""

import os
from dataclasses import replace

import pytest

from medassets.datasets.automation.attempts import Attempts, Away, Tries
from medassets.datasets.automation.wanted import (
    MOST_AT_ONCE,
    describe_waiting,
    is_overdue,
    list_due,
    look_at_disk,
    pick,
    wants_manifest,
    wants_refresh,
)
from medassets.datasets.build import build_shard, plan_shard, today_fingerprint
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace
from medassets.shards.account import Left

KEY, OTHER = "train-000000", "train-000001"
KEYS = [f"{split}-{index:06d}" for split in ("train", "valid") for index in range(3)]
NOTHING = Attempts()
NOW = 1000.0


@pytest.fixture
def planned(workspace: Workspace) -> Workspace:
    """The synthetic repository, catalogued."""
    publish_catalog(workspace.paths, draft_catalog(workspace))
    return workspace


@pytest.fixture
def made(planned: Workspace) -> Workspace:
    """The same with two shards on disk."""
    for key in (KEY, OTHER):
        build_shard(planned, planned.paths, plan_shard(planned, key))
    return planned


def left(workspace: Workspace) -> dict[str, Left]:
    return look_at_disk(workspace).left


def test_shards_are_missing_until_they_are_made(planned: Workspace) -> None:
    assert left(planned) == dict.fromkeys(KEYS, Left.MISSING)
    build_shard(planned, planned.paths, plan_shard(planned, KEY))
    assert left(planned) == dict.fromkeys(KEYS[1:], Left.MISSING)


@pytest.mark.parametrize("damage", ["tar", "record", "cut tar", "cut record"])
def test_a_shard_that_is_not_whole_is_lost(made: Workspace, damage: str) -> None:
    assert KEY not in left(made)
    path = made.paths.shard(KEY) if damage.endswith("tar") else made.paths.record(KEY)
    if damage.startswith("cut"):
        os.truncate(path, path.stat().st_size - 5)
    else:
        path.unlink()
    assert left(made)[KEY] is Left.LOST
    assert OTHER not in left(made)


def test_a_shard_at_the_place_of_another_is_lost(made: Workspace) -> None:
    for suffix in (made.paths.shard, made.paths.record):
        suffix(KEY).replace(suffix(OTHER))
    assert left(made)[KEY] is Left.MISSING
    assert left(made)[OTHER] is Left.LOST


def test_a_shard_of_another_declaration_is_stale(made: Workspace) -> None:
    spec = replace(made.kind.spec, target_shape=(20, 20, 12))
    changed = replace(made, kind=VolumeDataset(spec))  # pyright: ignore[reportArgumentType]
    assert {key: left(changed)[key] for key in (KEY, OTHER)} == dict.fromkeys((KEY, OTHER), "stale")


def test_what_failed_waits_and_other_inputs_begin_anew(planned: Workspace) -> None:
    plan = planned.read_plan()
    today = today_fingerprint(planned, plan, KEY)
    failed = Tries(today, NOW, NOW + 10, failures=1)
    item = f"shards/{KEY}"
    assert list_due(look_at_disk(planned), Attempts({item: failed}), now=NOW) == KEYS[1:]
    assert list_due(look_at_disk(planned), Attempts({item: failed}), now=NOW + 10) == KEYS
    given_up = replace(failed, next_at=None)
    assert list_due(look_at_disk(planned), Attempts({item: given_up}), now=NOW + 1e9) == KEYS[1:]
    assert (
        list_due(look_at_disk(planned), Attempts({item: replace(given_up, plan="x")}), now=NOW)
        == KEYS
    )


def test_a_shard_whose_sources_were_deleted_is_not_asked_for(planned: Workspace) -> None:
    journal = planned.paths.reclaim_journal(KEY)
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"")
    assert list_due(look_at_disk(planned), NOTHING, now=NOW) == KEYS[1:]


def test_a_shard_waits_for_the_shard_it_is_made_of(planned: Workspace) -> None:
    upstream = replace(planned, paths=replace(planned.paths, stage="clips"))
    assert list_due(look_at_disk(planned), NOTHING, now=NOW, upstream=look_at_disk(upstream)) == []
    build_shard(upstream, upstream.paths, plan_shard(upstream, KEY))
    assert list_due(look_at_disk(planned), NOTHING, now=NOW, upstream=look_at_disk(upstream)) == [
        KEY
    ]


def ask(due: list[str], attempts: Attempts = NOTHING, *, busy: set[str] | None = None) -> list[str]:
    return pick(due, attempts, stage="shards", busy=busy or set(), now=NOW)


def test_what_is_made_already_is_not_asked_for_again() -> None:
    assert ask(KEYS, busy={KEY}) == KEYS[1:]


def test_many_shards_are_asked_for_in_parts() -> None:
    due = [f"train-{index:06d}" for index in range(1000)]
    first = ask(due)
    assert first == due[:MOST_AT_ONCE]
    assert ask(due, busy=set(first)) == []
    assert ask(due, busy=set(first[-65:])) == []
    more = ask(due[64:], busy=set(first[-64:]))
    assert more == due[MOST_AT_ONCE : MOST_AT_ONCE + 64]


def test_while_the_source_is_away_one_shard_looks_and_each_in_its_turn() -> None:
    tries = {f"shards/{KEY}": Tries("x", NOW - 5, NOW), f"shards/{OTHER}": Tries("x", NOW - 9, NOW)}
    away = Attempts(tries, Away(NOW - 9, NOW, 1, "no answer"))
    assert ask([KEY, OTHER], away) == [OTHER]
    assert ask([KEY, OTHER], away, busy={KEY}) == []
    later = replace(away, away=Away(NOW - 9, NOW + 1, 1, "no answer"))
    assert ask([KEY, OTHER], later) == []


def test_the_first_refresh_is_wanted_and_not_another(workspace: Workspace) -> None:
    assert wants_refresh(workspace, NOTHING, known=[], now=NOW)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    assert not wants_refresh(workspace, NOTHING, known=KEYS, now=NOW)


def test_a_refresh_that_failed_is_wanted_when_it_is_due(planned: Workspace) -> None:
    failed = Attempts({"catalog": Tries("", NOW, NOW + 10, failures=1)})
    due = [wants_refresh(planned, failed, known=KEYS, now=NOW + s) for s in (9, 10)]
    assert due == [False, True]
    away = replace(failed, away=Away(NOW, NOW + 20, 1, "no answer"))
    due = [wants_refresh(planned, away, known=KEYS, now=NOW + s) for s in (10, 20)]
    assert due == [False, True]


def test_a_refresh_is_wanted_when_dagster_lacks_shards_of_the_plan(planned: Workspace) -> None:
    assert wants_refresh(planned, NOTHING, known=KEYS[1:], now=NOW)


def test_a_lost_plan_is_not_made_anew_where_shards_are_on_disk(made: Workspace) -> None:
    made.paths.catalog.unlink()
    assert not wants_refresh(made, NOTHING, known=[], now=NOW)


def test_the_manifest_is_wanted_when_shards_changed_and_none_is_about_to_be_made(
    made: Workspace,
) -> None:
    now = made.paths.catalog.stat().st_mtime

    def is_wanted(attempts: Attempts) -> bool:
        return wants_manifest(look_at_disk(made), attempts, name="manifest", now=now)

    failed = {
        f"shards/{key}": Tries(today_fingerprint(made, made.read_plan(), key), NOW, None, 4)
        for key in KEYS[2:]
    }
    assert not is_wanted(NOTHING), "four shards are about to be made"
    assert is_wanted(Attempts(failed)), "shards that failed must not hold the manifest back"
    assert is_wanted(Attempts(away=Away(now, now + 9, 1, "no answer")))
    written = Attempts(failed, written={"manifest": look_at_disk(made).fingerprint})
    assert is_wanted(written), "a manifest that is gone must be written again"
    made.paths.manifest("train").write_bytes(b"")
    assert not is_wanted(written)
    made.paths.shard(KEY).unlink()
    assert look_at_disk(made).fingerprint != written.written["manifest"]


def test_there_is_no_manifest_of_nothing(planned: Workspace) -> None:
    assert not wants_manifest(look_at_disk(planned), NOTHING, name="manifest", now=NOW)


def test_a_manifest_is_overdue_after_an_hour(planned: Workspace) -> None:
    planned_at = planned.paths.catalog.stat().st_mtime
    assert [is_overdue(planned, now=planned_at + s) for s in (3599, 3601)] == [False, True]
    manifest = planned.paths.manifest("train")
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(b"")
    os.utime(manifest, (planned_at + 5000, planned_at + 5000))
    assert not is_overdue(planned, now=planned_at + 5000 + 3599)


def test_a_manifest_of_a_clock_that_was_set_back_is_overdue(made: Workspace) -> None:
    now = made.paths.catalog.stat().st_mtime
    assert not is_overdue(made, now=now - 3500)
    assert is_overdue(made, now=now - 3e7)


def test_what_waits_and_what_is_left_failed_is_told(planned: Workspace) -> None:
    state = look_at_disk(planned)
    waits = Tries(state.today[KEY], NOW, NOW + 30, failures=1)
    failed = Tries(state.today[OTHER], NOW, None, failures=4)
    tries = {f"shards/{KEY}": waits, f"shards/{OTHER}": failed}
    assert describe_waiting(state, NOTHING, now=NOW) == ""
    assert describe_waiting(state, Attempts(tries), now=NOW) == (
        "1 shards wait, tried again in 30 s; 1 shards were left as failed"
    )
    away = Attempts(tries, Away(NOW, NOW + 40, 1, "not mounted", NOW))
    assert describe_waiting(state, away, now=NOW) == "6 shards wait, looked at in 40 s: not mounted"
    assert describe_waiting(state, Attempts(tries), now=NOW - 3e7) == ""
