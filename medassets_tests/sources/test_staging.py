import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import (
    ForeignFileError,
    Reason,
    SampleRejectedError,
    SourceUnavailableError,
)
from medassets.samples import StagedFile
from medassets.sources.hub import HubSource
from medassets.sources.staging import Staging
from medassets.testing.hub import FaultKind, LocalHub
from medassets_tests.sources.staging_processes import (
    CHILD,
    A,
    B,
    child,
    describe,
    list_files,
    read_line,
    wait_for,
)


def test_staged_files_equal_the_originals(source: HubSource, staging: Staging, repo: Path) -> None:
    staged = staging.stage(source, describe(source, A, B))
    for path, file in staged.items():
        assert isinstance(file, StagedFile)
        assert file.path == staging.folder / path
        assert file.path.read_bytes() == (repo / path).read_bytes()


def test_second_staging_asks_for_nothing(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    files = describe(source, A, B)
    first = staging.stage(source, files)
    hub.forget_requests()
    assert staging.stage(source, files) == first
    assert not hub.requests()


def test_staged_files_are_found_without_the_source(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    staged = staging.stage(source, describe(source, A))
    assert staging.lookup([A, B], revision=hub.sha) == staged
    assert staging.lookup([A], revision="0" * 40) == {}


def test_new_revision_of_equal_bytes_is_not_fetched(
    hub: LocalHub, source: HubSource, staging: Staging, repo: Path
) -> None:
    staging.stage(source, describe(source, A))
    (repo / "vol" / "new.nii.gz").write_bytes(b"new" * 1000)
    newer = replace(source, revision=hub.refresh())
    hub.forget_requests()
    staged = staging.stage(newer, describe(newer, A))[A]
    assert isinstance(staged, StagedFile)
    assert staged.revision == hub.sha
    assert not hub.requests("body")


def test_a_staged_file_that_lost_bytes_is_fetched_again(
    source: HubSource, staging: Staging, repo: Path
) -> None:
    files = describe(source, A)
    staging.stage(source, files)
    place = staging.folder / A
    before = place.stat()
    place.write_bytes(place.read_bytes()[:99])
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    staging.stage(source, files)
    assert place.read_bytes() == (repo / A).read_bytes()


@pytest.mark.parametrize("num_bytes", [99, None])
def test_what_a_user_put_in_the_place_of_a_staged_file_is_named_and_stays(
    source: HubSource, staging: Staging, num_bytes: int | None
) -> None:
    files = describe(source, A)
    staging.stage(source, files)
    place = staging.folder / A
    content = place.read_bytes()[::-1][:num_bytes]
    place.write_bytes(content)
    with pytest.raises(ForeignFileError, match=r"a\.nii\.gz: this was not made by medassets"):
        staging.stage(source, files)
    assert place.read_bytes() == content


def test_file_without_a_note_is_taken_over_when_its_digest_is_right(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    files = describe(source, A)
    first = staging.stage(source, files)
    (staging.folder / "vol" / ".a.nii.gz.staged.json").write_text("{not json")
    hub.forget_requests()
    assert staging.stage(source, files) == first
    assert not hub.requests()


def test_rejections_are_values_and_the_rest_is_staged(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    files = describe(source, A, B)
    hub.fail("missing", A)
    staged = staging.stage(source, files)
    rejected = staged[A]
    assert isinstance(rejected, SampleRejectedError)
    assert rejected.reason is Reason.MISSING_UPSTREAM
    assert isinstance(staged[B], StagedFile)


def test_first_error_stops_all(hub: LocalHub, source: HubSource, staging: Staging) -> None:
    files = describe(source, A, B)
    hub.fail("slow", A, bytes_per_s=100_000)
    hub.fail("unavailable", B, times=None)
    start = time.monotonic()
    with pytest.raises(SourceUnavailableError, match="given up"):
        staging.stage(source, files, num_workers=2)
    assert time.monotonic() - start < 3


def test_callback_is_called_in_the_calling_thread_and_can_stop(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    files = describe(source, A)
    hub.fail("slow", bytes_per_s=200_000)
    threads: set[int] = set()

    def stop(num_bytes: int) -> None:
        threads.add(threading.get_ident())
        if num_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        staging.stage(source, files, on_bytes=stop)
    assert threads == {threading.get_ident()}


def test_callback_sums_up_to_all_bytes(source: HubSource, staging: Staging) -> None:
    seen: list[int] = []
    staging.stage(source, describe(source, A, B), on_bytes=seen.append)
    assert sum(seen) == 1_000_008
    staging.stage(source, describe(source, A, B), on_bytes=seen.append)
    assert sum(seen) == 1_000_008


@pytest.mark.parametrize("seed", range(6))
def test_a_storm_of_passing_faults_ends_byte_identical(
    hub: LocalHub, source: HubSource, staging: Staging, repo: Path, seed: int
) -> None:
    chance = random.Random(seed)
    kinds: tuple[FaultKind, ...] = (
        *("reset", "truncate", "short", "long", "ignore_range", "stall", "wrong_bytes"),
        *("rate_limit", "unavailable", "web_page", "expired_link"),
    )
    files = describe(source, A, B)
    for kind in chance.choices(kinds, k=12):
        at_byte = chance.randrange(300_000)
        hub.fail(kind, skip=chance.randrange(8), at_byte=at_byte, retry_after_s=0)
    policy = replace(source.policy, max_attempts=20, max_wrong_bytes=20, stall_timeout_s=0.2)
    for path, staged in staging.stage(replace(source, policy=policy), files).items():
        assert isinstance(staged, StagedFile)
        assert staged.path.read_bytes() == (repo / path).read_bytes()
    assert not list(staging.folder.rglob("*.part"))


def test_release_leaves_nothing_behind(source: HubSource, staging: Staging) -> None:
    staging.stage(source, describe(source, A, B))
    assert staging.usage().num_bytes == 1_000_008
    staging.release([A, B, "vol/never/staged.nii.gz"])
    assert list(staging.folder.iterdir()) == []


def test_release_keeps_a_file_without_the_note_that_it_was_staged_here(
    source: HubSource, staging: Staging
) -> None:
    staging.stage(source, describe(source, A))
    (staging.folder / B).parent.mkdir(parents=True, exist_ok=True)
    (staging.folder / B).write_bytes(b"put here by the user")
    staging.release([A, B])
    assert not (staging.folder / A).exists()
    assert (staging.folder / B).read_bytes() == b"put here by the user"


def test_release_of_nothing_makes_no_folder(staging: Staging) -> None:
    staging.release([A])
    assert not staging.folder.exists()


def test_release_spares_what_another_process_is_staging(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    hub.fail("slow", A, bytes_per_s=400_000)
    with child(hub, staging, A, "once") as other:
        wait_for(lambda: list(staging.folder.rglob("*.part")))
        staging.release([A])
        assert read_line(other) == "staged"
        assert (staging.folder / A).exists()


def test_two_processes_download_one_file_once(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    hub.fail("slow", A, bytes_per_s=1_000_000)
    with child(hub, staging, A, "once") as other:
        wait_for(lambda: list(staging.folder.rglob("*.part")))
        staging.stage(source, describe(source, A))
        assert read_line(other) == "staged"
    assert len(hub.requests("body")) == 1


def test_killed_download_goes_on_where_it_stopped(
    hub: LocalHub, source: HubSource, staging: Staging, repo: Path
) -> None:
    hub.fail("slow", A, bytes_per_s=500_000)
    with child(hub, staging, A, "once") as other:
        wait_for(lambda: any(p.stat().st_size for p in staging.folder.rglob("*.part")))
        other.send_signal(signal.SIGKILL)
        other.wait()
    kept = next(staging.folder.rglob("*.part")).stat().st_size
    assert 0 < kept < 700_001
    hub.forget_requests()
    staged = staging.stage(source, describe(source, A))[A]
    assert isinstance(staged, StagedFile)
    assert [r.range_start for r in hub.requests("body")] == [kept]
    assert staged.path.read_bytes() == (repo / A).read_bytes()
    assert list_files(staging.folder) == ["vol/.a.nii.gz.staged.json", A]


def test_kills_at_any_instant_leave_right_bytes_and_no_litter(
    hub: LocalHub, source: HubSource, staging: Staging, repo: Path
) -> None:
    instants = random.Random(3)
    for _ in range(6):
        hub.heal()
        hub.fail("slow", times=None, bytes_per_s=2_000_000)
        with child(hub, staging, A, B, "once") as other:
            wait_for(lambda: staging.folder.exists())
            time.sleep(instants.uniform(0, 0.5))
            other.send_signal(signal.SIGKILL)
            other.wait()
    hub.heal()
    for path, staged in staging.stage(source, describe(source, A, B)).items():
        assert isinstance(staged, StagedFile)
        assert staged.path.read_bytes() == (repo / path).read_bytes()
    staging.release([A, B])
    assert list_files(staging.folder) == []


def test_full_disk_is_explained_and_keeps_what_arrived(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    arguments = [hub.endpoint, hub.sha, str(staging.folder), "1000000", A, "once"]
    done = subprocess.run(
        [sys.executable, "-c", limited + CHILD, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "DiskSpaceError: no space left to write" in done.stderr
    hub.forget_requests()
    assert isinstance(staging.stage(source, describe(source, A))[A], StagedFile)
    kept = hub.requests("body")[0].range_start
    assert kept is not None
    assert 0 < kept <= 200_000
