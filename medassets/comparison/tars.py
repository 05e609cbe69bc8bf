"""Read the samples of WebDataset tars by study, and list problems of the tars."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medassets.errors import Reason, SampleRejectedError
from medassets.tars.index import tar_errors_as_rejections
from medassets.tars.lists import FoundShard
from medassets.tars.reader import Members, OpenTar, open_tar
from medassets.tars.scan import ScannedSample, scan_until_damage
from medassets.volumes.catalog.sample_keys import make_sample_key
from medassets.volumes.catalog.webdataset_facts import read_stated_columns, read_study_id
from medassets.volumes.catalog.webdataset_members import TarSample, call_or_reject
from medassets.volumes.files.array_files import (
    open_npy_array,
    open_npz_array,
    open_raw_array,
)
from medassets.volumes.files.header import VolumeStream

# Small reads on a network disk are bound by latency.
_NUM_READERS = 8


@dataclass(frozen=True)
class TarProblem:
    """A problem of a tar, or of a sample whose study is not known.

    Attributes:
        tar: The tar.
        key: Key of the sample in it; empty for the tar as a whole.
        what: The problem.
    """

    tar: Path
    key: str
    what: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{name_place(self.tar, self.key)}: {self.what}"


@dataclass(frozen=True)
class StudySample:
    """One sample of a tar.

    Attributes:
        tar: The tar.
        key: Its key in the tar.
        study_id: The study in its json.
        members: Its members.
    """

    tar: Path
    key: str
    study_id: str
    members: Members = field(repr=False)

    @property
    def place(self) -> str:
        """Tar and key for messages, without control characters."""
        return name_place(self.tar, self.key)

    def read_member(self, suffix: str) -> bytes:
        """Return the content of a member.

        Raises:
            SampleRejectedError: CORRUPT_TAR or UNREADABLE_SOURCE if it cannot be read.
        """
        with tar_errors_as_rejections(self.tar), open_tar(self.tar) as tar:
            return bytes(tar.read(self.members[suffix]))

    def read_facts(self) -> dict[str, Any]:
        """Return the json.

        Raises:
            SampleRejectedError: If it is not a JSON object, or cannot be read.
        """
        with tar_errors_as_rejections(self.tar), open_tar(self.tar) as tar:
            return TarSample(tar, self.members).read_facts("json")

    def open_array(
        self, suffix: str, facts: dict[str, Any], array_key: str
    ) -> AbstractContextManager[VolumeStream]:
        """Open the volume.

        Args:
            suffix: Its member.
            facts: The json.
            array_key: Name of the array in a `.npz`.

        Raises:
            SampleRejectedError: If it is not an array that `array_files` reads.
        """
        kind, within = suffix.rpartition(".")[2], self.members[suffix]
        if kind == "npz":
            return open_npz_array(self.tar, array_key, within=within)
        if kind == "npy":
            return open_npy_array(self.tar, within=within)
        stated = call_or_reject(Reason.BAD_RECORD, lambda: read_stated_columns(facts), ".json: ")
        shape, dtype = tuple(stated["shape"]), stated["array_dtype"]
        return open_raw_array(self.tar, shape=shape, dtype=dtype, within=within)


@dataclass
class TarSet:
    """Contents of several tars.

    Attributes:
        samples: Samples whose study is known, in the order of the tars.
        problems: Problems of tars and of other samples.
        num_damaged: Number of tars that could not be read to their end.
    """

    samples: list[StudySample] = field(default_factory=list)
    problems: list[TarProblem] = field(default_factory=list)
    num_damaged: int = 0


def name_place(tar: Path, key: str) -> str:
    """Return tar and key, with control characters of the key escaped."""
    shown = key if key.isprintable() else ascii(key)[1:-1]
    return f"{tar}: {shown}" if key else str(tar)


def read_tar_set(shards: Sequence[FoundShard]) -> TarSet:
    """Read headers and json members of tars; damage is listed, not raised.

    Args:
        shards: The tars, with sizes and counts of a manifest.
    """
    whole = TarSet()
    with ThreadPoolExecutor(_NUM_READERS, thread_name_prefix="medassets-tars") as pool:
        for part in pool.map(_read_tar, shards):
            whole.samples += part.samples
            whole.problems += part.problems
            whole.num_damaged += part.num_damaged
    return whole


def _read_tar(shard: FoundShard) -> TarSet:
    found = TarSet()
    try:
        with open_tar(shard.path) as tar:
            _read_samples(found, shard, tar)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        what = "does not exist" if missing else f"cannot be read ({error.strerror})"
        found.problems.append(TarProblem(shard.path, "", what))
        found.num_damaged = 1
    return found


def _read_samples(found: TarSet, shard: FoundShard, tar: OpenTar) -> None:
    samples, damage = scan_until_damage(tar)
    found.num_damaged = bool(damage)
    counts = {"bytes": (shard.size_bytes, tar.size_bytes)}
    counts["samples"] = shard.num_samples, len(samples)
    if what := damage or ("" if samples else "contains no sample"):
        found.problems.append(TarProblem(shard.path, "", what))
    for what, (said, there) in counts.items():
        if said is not None and said != there:
            text = f"has {there:,} {what}, its manifest says {said:,}"
            found.problems.append(TarProblem(shard.path, "", text))
    for key, count in Counter(sample.key for sample in samples).items():
        if count > 1:
            found.problems.append(TarProblem(shard.path, key, f"this key occurs {count} times"))
    if damage and samples and "json" not in samples[-1].members:
        # Its json is after the damage.
        samples.pop()
    found.samples += filter(None, (_identify(tar, one, found.problems) for one in samples))


def _identify(
    tar: OpenTar, scanned: ScannedSample, problems: list[TarProblem]
) -> StudySample | None:
    path = Path(tar.path)
    try:
        facts = TarSample(tar, scanned.members).read_facts("json")
        study_id = read_study_id(facts)
    except ValueError as error:
        what = error.detail if isinstance(error, SampleRejectedError) else str(error)
        problems.append(TarProblem(path, scanned.key, what))
        return None
    is_ours = "fingerprint" in facts and isinstance(facts.get("preprocessing"), dict)
    if is_ours and scanned.key != make_sample_key(study_id):
        what = f"its json is of study {study_id}; in shards of medassets both are the same"
        problems.append(TarProblem(path, scanned.key, what))
    return StudySample(path, scanned.key, study_id, scanned.members)
