"""A source is proven only by making its samples again and comparing every byte."""

import hashlib
import json
import os
from collections.abc import Sequence

import numpy as np

from medassets.reclaim.proof import Proof, prove_file
from medassets.reclaim.source_files import FileStat, SourceFile
from medassets.shards.record import ShardRecord, content_fingerprint
from medassets.storage.checksums import crc32
from medassets_tests.npz_source import find_member, flip_byte
from medassets_tests.reclaim.reclaiming import FIRST, Made, whys


def test_a_shard_whose_record_agrees_with_damage_is_still_found_out(made: Made) -> None:
    """Digests that were taken of the damage prove nothing; the source made again does."""
    study, shard = made.studies()[2], made.shard()
    member = find_member(shard, f"{study}.bin")
    flip_byte(shard, member.offset_data)
    content = shard.read_bytes()
    record_path = made.open().paths.record(FIRST)
    record = json.loads(record_path.read_bytes())
    record["sha256"] = hashlib.sha256(content).hexdigest()
    record["fingerprint"] = content_fingerprint(record["sha256"], ())
    (entry,) = [sample for sample in record["samples"] if sample["key"] == study]
    (part,) = [part for part in entry["members"] if part["suffix"] == "bin"]
    part["crc32"] = crc32(content[member.offset_data : member.offset_data + member.size])
    record_path.write_text(json.dumps(record))
    report = made.reclaim()
    assert len(report.problems) == 1, report.problems
    assert study in report.problems[0]
    assert "member .bin on disk differs from what its source makes" in report.problems[0]
    assert len(made.left) == 7


def test_two_swapped_volumes_of_a_shard_are_found_out(made: Made) -> None:
    """Both are whole; each is the other's."""
    one, other = made.studies()[0], made.studies()[2]
    source, target = (made.tree.place(study) for study in (one, other))
    stats = source.stat(), target.stat()
    source.rename(source.with_suffix(".away"))
    target.rename(source)
    source.with_suffix(".away").rename(target)
    for place, stat in zip((source, target), stats, strict=True):
        os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    report = made.reclaim()
    assert set(whys(report)) == {one, other}
    assert source.exists()
    assert target.exists()


def test_other_bytes_under_the_same_size_and_time_stay(made: Made) -> None:
    place = made.tree.place(made.studies()[0])
    stat = place.stat()
    # Of the member's own name in the zip directory: numpy reads the same array.
    flip_byte(place, stat.st_size - 1)
    os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    content = place.read_bytes()
    report = made.reclaim()
    assert list(whys(report)) == [place.stem]
    assert "build again" in whys(report)[place.stem] or "read again" in whys(report)[place.stem]
    assert place.read_bytes() == content
    assert len(report.deleted) == 2


def test_another_file_of_the_same_size_and_time_stays(made: Made) -> None:
    """Values are not compressed, so that another volume has the same size."""
    place = made.tree.place(made.studies()[0])
    values = made.tree.read(place.stem)
    np.savez(place, data=values)
    made.refresh()
    made.build(FIRST)
    stat = place.stat()
    np.savez(place, data=values + 1)
    os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert place.stat().st_size == stat.st_size
    content = place.read_bytes()
    report = made.reclaim()
    assert "its content is not what the shard was made of" in whys(report)[place.stem]
    assert place.read_bytes() == content


def prove(made: Made, study: str, *, holds: Sequence[str]) -> Proof:
    """Prove the file of one study against the entries of some studies of its shard."""
    workspace = made.open()
    (item,) = [item for item in workspace.read_partition(FIRST) if item.key == study]
    record = ShardRecord.read(workspace.paths.record(FIRST))
    entries = {s.key: (made.shard(), s) for s in record.samples if s.key in holds}
    return prove_file(
        SourceFile(item.path, (item,), (FIRST,), num_unplanned=0, is_single=True),
        lambda: FileStat.of((workspace.source_folder / item.path).lstat()),
        entries=entries,
        stage=lambda item: workspace.stage([item])[item.key],
        encode=workspace.kind.encoder(),
    )


def test_a_file_whose_sample_is_in_the_shard_is_proven_with_its_digest(made: Made) -> None:
    study = made.studies()[1]
    proof = prove(made, study, holds=[study])
    assert (proof.why, proof.problems, proof.is_other) == ("", [], False)
    assert proof.sha256 == {study: hashlib.sha256(made.originals.files[study]).hexdigest()}
    assert proof.stat is not None
    assert proof.stat.num_bytes == len(made.originals.files[study])


def test_a_sample_that_no_shard_holds_is_a_problem(made: Made) -> None:
    study = made.studies()[1]
    assert prove(made, study, holds=[]).problems == [f"{study}: no shard holds it"]


def test_a_file_that_cannot_be_read_is_kept(made: Made) -> None:
    study = made.studies()[1]
    made.tree.place(study).unlink()
    proof = prove(made, study, holds=[study])
    assert proof.why == "it cannot be read (No such file or directory)"
    assert proof.stat is None
