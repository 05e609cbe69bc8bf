import hashlib
import json
import os
import resource
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import (
    DiskSpaceError,
    Reason,
    SampleRejectedError,
    ShardIntegrityError,
    TooManyRejectedError,
)
from medassets.progress import SampleDone
from medassets.samples import Encoded, EncodedSample, SourceItem, StagedFile, each_item
from medassets.shards import publication
from medassets.shards.failure import read_failure
from medassets.shards.files import read_whole_record
from medassets.shards.record import ShardRecord
from medassets.shards.writer import ensure_shard
from medassets.storage.paths import DatasetPaths
from medassets_tests.shards.works import (
    KEY,
    MakeWork,
    count_encoded,
    encode_one,
    fail_at,
    read_files,
)

PINNED = "8bb41f1c985902d229ec00a4fa1ae27afca6ec314692849d7ed5cc22de63b30a"


@contextmanager
def _largest_file(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_shard_holds_its_samples_and_says_what_it_lacks(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    result = ensure_shard(paths, make_work())
    assert (result.adopted, result.resumed) == (False, 0)
    record = ShardRecord.read(paths.record(KEY))
    assert record == result.record
    assert [s.key for s in record.samples] == [f"a_{i:03d}" for i in range(12) if i not in (3, 7)]
    assert [(r.key, r.reason, r.detail) for r in record.rejected] == [
        ("a_003", "bad_header", "data/a_003.raw is bad"),
        ("a_007", "missing_upstream", "data/a_007.raw is gone"),
    ]
    assert record.num_samples + len(record.rejected) == 12
    data = paths.shard(KEY).read_bytes()
    assert record.size_bytes == len(data)
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert sorted(read_files(paths)) == ["shard-000000.json", "shard-000000.tar"]


def test_the_bytes_of_a_tiny_shard_are_pinned(paths: DatasetPaths, make_work: MakeWork) -> None:
    """A new digest here means that every published shard would be made again."""
    record = ensure_shard(paths, make_work()).record
    assert record.sha256 == PINNED


def test_bytes_do_not_depend_on_workers_or_order_of_completion(
    tmp_path: Path, make_work: MakeWork
) -> None:
    found = []
    for num_workers in (1, 2, 4):
        work = make_work(num_workers=num_workers)

        def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
            time.sleep(0.005 * (item.row["index"] % 3 == 0))
            (encoded,) = make_work().encode([item], staged)
            if not isinstance(encoded, EncodedSample):
                raise encoded
            return encoded

        paths = DatasetPaths(tmp_path / str(num_workers), "tiny")
        ensure_shard(paths, replace(work, encode=each_item(encode)))
        found.append(read_files(paths))
    assert found[0] == found[1] == found[2]


def test_a_whole_shard_is_adopted_without_work(paths: DatasetPaths, make_work: MakeWork) -> None:
    first = ensure_shard(paths, make_work())
    calls: list[str] = []
    second = ensure_shard(paths, count_encoded(make_work(), calls))
    assert second.adopted
    assert second.record == first.record
    assert calls == []


@pytest.mark.parametrize("damage", ["shorter", "gone", "no record", "bad record", "other plan"])
def test_a_shard_that_is_not_whole_is_made_again(
    paths: DatasetPaths, make_work: MakeWork, damage: str
) -> None:
    ensure_shard(paths, make_work())
    good, work = read_files(paths), make_work()
    shard, record = paths.shard(KEY), paths.record(KEY)
    if damage == "shorter":
        os.truncate(shard, 5120)
    elif damage == "gone":
        shard.unlink()
    elif damage == "no record":
        record.unlink()
    elif damage == "bad record":
        record.write_bytes(record.read_bytes()[:100])
    else:
        work = replace(work, plan_fingerprint="another")
    assert not ensure_shard(paths, work).adopted
    if damage == "other plan":
        assert read_whole_record(paths, KEY, "another") is not None
    else:
        assert read_files(paths) == good


def test_force_makes_a_whole_shard_again(paths: DatasetPaths, make_work: MakeWork) -> None:
    ensure_shard(paths, make_work())
    good = read_files(paths)
    calls: list[str] = []
    assert not ensure_shard(paths, replace(count_encoded(make_work(), calls), force=True)).adopted
    assert len(calls) == 11
    assert read_files(paths) == good


@pytest.mark.parametrize("renames_done", [0, 1, 2])
def test_a_kill_inside_publication_never_pairs_a_record_with_another_tar(
    paths: DatasetPaths,
    make_work: MakeWork,
    monkeypatch: pytest.MonkeyPatch,
    renames_done: int,
) -> None:
    """Old and new shard have the same size, so that only their bytes tell them apart."""
    ensure_shard(paths, make_work())

    def encode_anew(item: SourceItem, staged: StagedFile) -> EncodedSample:
        sample = encode_one(make_work(), item, staged)
        (suffix, data), *others = sample.members
        return replace(sample, members=((suffix, bytes(len(data))), *others))

    calls: list[str] = []
    work = count_encoded(
        make_work(encode=each_item(encode_anew), plan_fingerprint="another"), calls
    )
    done = 0

    def publish_or_die(private: Path, final: Path, **_: object) -> None:
        nonlocal done
        if done == renames_done:
            raise KeyboardInterrupt
        private.replace(final)
        done += 1

    with monkeypatch.context() as patch:
        patch.setattr(publication, "publish_file", publish_or_die)
        if renames_done < 2:
            with pytest.raises(KeyboardInterrupt):
                ensure_shard(paths, work)
            assert read_whole_record(paths, KEY) is None
    ensure_shard(paths, work)
    record = read_whole_record(paths, KEY, "another")
    assert record is not None
    assert record.sha256 == hashlib.sha256(paths.shard(KEY).read_bytes()).hexdigest()
    assert sorted(read_files(paths)) == ["shard-000000.json", "shard-000000.tar"]
    assert len(calls) == 11


def test_too_many_rejected_publishes_nothing_and_names_reasons_and_keys(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    with pytest.raises(
        TooManyRejectedError,
        match=r"train-000000: 2 of .*12 samples.*bad_header 1, missing_upstream 1.*a_003.*a_007",
    ):
        ensure_shard(paths, make_work(max_rejected_share=0.1))
    assert [*read_files(paths)] == [".shard-000000.failure"]


def test_a_shard_that_fails_names_all_its_bad_samples_and_publishes_when_they_are_allowed(
    paths: DatasetPaths, make_work: MakeWork, make_items: Callable[..., tuple[SourceItem, ...]]
) -> None:
    items = make_items(40, bad=(1, 2, 30, 39), gone=(7,))
    with pytest.raises(TooManyRejectedError, match=r"5 of the first 40 of 40 samples"):
        ensure_shard(paths, make_work(items=items, max_rejected_share=0.0))
    note = read_failure(paths, KEY, "plan")
    assert note is not None
    keys = ["a_001", "a_002", "a_007", "a_030", "a_039"]
    assert [one.key for one in note.rejected] == keys
    assert note.num_tried == 40
    assert read_failure(paths, KEY, "another") is None
    record = ensure_shard(paths, make_work(items=items, max_rejected_share=0.5)).record
    assert [one.key for one in record.rejected] == keys
    assert sorted(read_files(paths)) == ["shard-000000.json", "shard-000000.tar"]


def test_a_shard_that_fails_tries_no_more_than_a_bounded_number_of_bad_samples(
    paths: DatasetPaths, make_work: MakeWork, make_items: Callable[..., tuple[SourceItem, ...]]
) -> None:
    items = make_items(300, bad=range(300))
    with pytest.raises(TooManyRejectedError, match=r"100 of the first 100 of 300 samples"):
        ensure_shard(paths, make_work(items=items, max_rejected_share=0.0))


def test_a_shard_that_fails_by_a_hanging_decoder_does_not_wait_for_the_others(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    def reject(item: SourceItem, staged: StagedFile) -> EncodedSample:
        raise SampleRejectedError(Reason.DECODER_TIMEOUT, item.key)

    work = make_work(encode=each_item(reject), max_rejected_share=0.0)
    with pytest.raises(TooManyRejectedError, match=r"1 of the first 1 of 12 samples"):
        ensure_shard(paths, work)


def test_an_interrupted_shard_with_more_rejections_than_are_now_allowed_fails(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        ensure_shard(paths, fail_at(make_work(), "a_009", RuntimeError("killed")))
    with pytest.raises(TooManyRejectedError, match=r"2 of the first 12 of 12 samples"):
        ensure_shard(paths, make_work(max_rejected_share=0.1))


def test_rejections_up_to_the_share_are_no_failure(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    assert len(ensure_shard(paths, make_work(max_rejected_share=2 / 12)).record.rejected) == 2


def test_a_shard_without_any_sample_is_still_a_tar(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    def reject(item: SourceItem, staged: StagedFile) -> EncodedSample:
        raise SampleRejectedError(Reason.PRECISION, item.key)

    result = ensure_shard(paths, make_work(encode=each_item(reject), max_rejected_share=1.0))
    assert result.record.num_samples == 0
    with tarfile.open(paths.shard(KEY)) as archive:
        assert archive.getnames() == []


def test_a_full_disk_leaves_the_old_shard_whole_and_says_how_much_is_needed(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    ensure_shard(paths, make_work())
    old = read_files(paths)
    work = make_work(plan_fingerprint="another", expected_bytes=100_000)
    with (
        _largest_file(30_000),
        pytest.raises(DiskSpaceError, match=r"shard-000000\.tar.*: 70,000 more bytes are needed"),
    ):
        ensure_shard(paths, work)
    assert {k: v for k, v in read_files(paths).items() if not k.startswith(".")} == old
    calls: list[str] = []
    result = ensure_shard(paths, count_encoded(work, calls))
    assert result.resumed == 6
    assert len(calls) == 5
    assert sorted(read_files(paths)) == ["shard-000000.json", "shard-000000.tar"]


def test_only_what_is_left_is_staged(paths: DatasetPaths, make_work: MakeWork) -> None:
    asked: list[list[str]] = []
    work = make_work()

    def stage(
        items: Sequence[SourceItem],
    ) -> Mapping[str, StagedFile | SampleRejectedError]:
        asked.append([item.key for item in items])
        return work.stage(items)

    counted = replace(work, stage=stage)
    with pytest.raises(RuntimeError, match="out of luck"):
        ensure_shard(paths, fail_at(counted, "a_010", RuntimeError("out of luck")))
    ensure_shard(paths, counted)
    ensure_shard(paths, counted)
    assert [len(keys) for keys in asked] == [12, 2]
    asked.clear()
    ensure_shard(paths, replace(counted, stage_each=True, force=True))
    assert sorted(asked) == [[f"a_{i:03d}"] for i in range(12)]


def test_an_unpublished_error_of_the_source_reaches_the_caller(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    def stage(items: Sequence[SourceItem]) -> Mapping[str, StagedFile | SampleRejectedError]:
        msg = "403"
        raise PermissionError(msg)

    with pytest.raises(PermissionError, match="403"):
        ensure_shard(paths, make_work(stage=stage))
    assert not paths.shard(KEY).exists()


def test_memory_does_not_grow_with_the_shard(
    paths: DatasetPaths, make_work: MakeWork, make_items: Callable[..., tuple[SourceItem, ...]]
) -> None:
    alive, most = 0, 0
    lock = threading.Lock()
    work = make_work(items=make_items(60))

    def change(by: int) -> None:
        nonlocal alive, most
        with lock:
            alive += by
            most = max(most, alive)

    def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
        change(1)
        return replace(encode_one(work, item, staged), release=lambda: change(-1))

    ensure_shard(paths, replace(work, encode=each_item(encode)))
    assert alive == 0
    assert most <= 3 * 2


def test_progress_counts_every_item_in_the_calling_thread(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    seen: list[SampleDone] = []
    threads: set[int] = set()

    def observe(progress: SampleDone) -> None:
        seen.append(progress)
        threads.add(threading.get_ident())

    ensure_shard(paths, make_work(), observe=observe)
    assert [p.done for p in seen] == list(range(1, 13))
    assert (seen[-1].total, seen[-1].rejected) == (12, 2)
    assert threads == {threading.get_ident()}


def test_an_encoder_that_mixes_up_samples_is_found_out(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
        return EncodedSample("a_000", (("bin", b"x"),))

    with pytest.raises(ShardIntegrityError, match=r"a_001: its encoder returned sample 'a_000'"):
        ensure_shard(paths, make_work(encode=each_item(encode)))


def test_two_threads_that_build_one_shard_do_the_work_once(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    calls: list[str] = []
    adopted: list[bool] = []
    work = count_encoded(make_work(), calls)
    threads = [
        threading.Thread(target=lambda: adopted.append(ensure_shard(paths, work).adopted))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(adopted) == [False, True, True]
    assert len(calls) == 11


def test_a_record_knows_where_every_member_lies(paths: DatasetPaths, make_work: MakeWork) -> None:
    record = ensure_shard(paths, make_work()).record
    data = paths.shard(KEY).read_bytes()
    sample = record.samples[-1]
    member = {m.suffix: m for m in sample.members}["json"]
    content = data[member.offset : member.offset + member.size_bytes]
    assert json.loads(content) == {"key": "a_011"}
    assert sample.facts == {"index": 11, "share": 0.1}


def _of_one_file(make_items: Callable[..., tuple[SourceItem, ...]]) -> tuple[SourceItem, ...]:
    """Nine items, three of each file."""
    items = make_items(9)
    return tuple(replace(item, path=f"video_{i // 3}.raw") for i, item in enumerate(items))


def test_items_of_one_file_are_encoded_together_and_rejected_one_by_one(
    paths: DatasetPaths, make_work: MakeWork, make_items: Callable[..., tuple[SourceItem, ...]]
) -> None:
    groups: list[list[str]] = []

    def encode(items: Sequence[SourceItem], staged: StagedFile) -> list[Encoded]:
        groups.append([item.key for item in items])
        if items[0].path == "video_1.raw":
            raise SampleRejectedError(Reason.BAD_HEADER, "no video")
        found: list[Encoded] = [EncodedSample(item.key, (("bin", b"x"),)) for item in items]
        found[1] = SampleRejectedError(Reason.PRECISION, "no clip")
        return found

    work = make_work(items=_of_one_file(make_items), encode=encode, max_rejected_share=0.9)
    record = ensure_shard(paths, work).record
    assert sorted(groups) == [[f"a_{i + j:03d}" for j in range(3)] for i in (0, 3, 6)]
    assert [sample.key for sample in record.samples] == ["a_000", "a_002", "a_006", "a_008"]
    assert [(r.key, r.detail) for r in record.rejected] == [
        ("a_001", "no clip"),
        ("a_003", "no video"),
        ("a_004", "no video"),
        ("a_005", "no video"),
        ("a_007", "no clip"),
    ]


def test_a_file_cut_in_the_middle_of_its_samples_goes_on_with_the_rest(
    paths: DatasetPaths, make_work: MakeWork, make_items: Callable[..., tuple[SourceItem, ...]]
) -> None:
    groups: list[list[str]] = []
    work = make_work(items=_of_one_file(make_items))

    def encode(items: Sequence[SourceItem], staged: StagedFile) -> Sequence[Encoded]:
        groups.append([item.key for item in items])
        return work.encode(items, staged)

    def stop_at_five(progress: SampleDone) -> None:
        if progress.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_shard(paths, replace(work, encode=encode), observe=stop_at_five)
    groups.clear()
    assert ensure_shard(paths, replace(work, encode=encode)).resumed == 5
    assert sorted(groups) == [["a_005"], ["a_006", "a_007", "a_008"]]


def test_an_encoder_that_forgets_a_sample_is_found_out(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    with pytest.raises(ShardIntegrityError, match=r"a_000: its encoder returned 0 of 1 samples"):
        ensure_shard(paths, make_work(encode=lambda items, staged: []))


@pytest.mark.parametrize(("share", "said"), [(0.1, "0.17"), (0.0, "0.17")])
def test_too_many_rejected_names_the_command_that_does_without_them(
    paths: DatasetPaths, make_work: MakeWork, share: float, said: str
) -> None:
    with pytest.raises(TooManyRejectedError, match=f"--set max_rejected_share={said}`"):
        ensure_shard(paths, make_work(max_rejected_share=share))
    ensure_shard(paths, make_work(max_rejected_share=float(said)))
