"""The samples of any WebDataset tars by study, and what is wrong with the tars themselves."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.unreadable import unreadable_as_rejection
from medassets.tars.index import Extent, Members, read_extent
from medassets.tars.lists import FoundShard
from medassets.tars.scan import ScannedSample
from medassets.tars.survey import TarSurvey, survey_tar
from medassets.volumes.catalog.sample_keys import make_sample_key
from medassets.volumes.catalog.webdataset_facts import read_stated_columns, read_study_id
from medassets.volumes.catalog.webdataset_members import TarSample, call_or_reject
from medassets.volumes.files.array_files import (
    ArrayStream,
    open_npy_array,
    open_npz_array,
    open_raw_array,
)

# Small reads on a network disk only wait.
_NUM_READERS = 8


@dataclass(frozen=True)
class TarProblem:
    """What is wrong with a tar, or with a sample that cannot be told by its study.

    Attributes:
        tar: The tar.
        key: Key of the sample in it; empty if it is the tar as a whole.
        what: What is wrong.
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
        study_id: The study, as its json says.
        members: Where its members lie.
    """

    tar: Path
    key: str
    study_id: str
    members: Members = field(repr=False)

    @property
    def place(self) -> str:
        """Tar and key, as a message may show them."""
        return name_place(self.tar, self.key)

    def read_member(self, suffix: str) -> bytes:
        """Return the content of a member."""
        with unreadable_as_rejection(), self.tar.open("rb", buffering=0) as file:
            return read_extent(file.fileno(), self.members[suffix])

    def read_facts(self) -> dict[str, Any]:
        """Return the json.

        Raises:
            SampleRejectedError: If it is none any more, or cannot be read.
        """
        with unreadable_as_rejection(), self.tar.open("rb", buffering=0) as file:
            return TarSample(file, self.members).read_facts("json")

    def open_array(
        self, suffix: str, facts: dict[str, Any], array_key: str
    ) -> AbstractContextManager[ArrayStream]:
        """Open the volume.

        Args:
            suffix: Its member.
            facts: The json.
            array_key: Name of the array in a `.npz`.

        Raises:
            SampleRejectedError: If it is no array that can be read; see `array_files`.
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
    """What several tars hold.

    Attributes:
        samples: Those whose study is known, in the order of the tars.
        problems: What is wrong with tars and other samples.
        num_damaged: Tars that could not be read to their end.
    """

    samples: list[StudySample] = field(default_factory=list)
    problems: list[TarProblem] = field(default_factory=list)
    num_damaged: int = 0


def name_place(tar: Path, key: str) -> str:
    """Return tar and key without the characters that steer a terminal."""
    shown = key if key.isprintable() else ascii(key)[1:-1]
    return f"{tar}: {shown}" if key else str(tar)


def read_tar_set(shards: Sequence[FoundShard], *, strict: bool) -> TarSet:
    """Read headers and json members of tars; nothing on disk raises.

    Args:
        shards: The tars, and what a manifest says of them.
        strict: Whether bytes between members must be empty, as every writer in use leaves them.
    """
    whole = TarSet()
    with ThreadPoolExecutor(_NUM_READERS, thread_name_prefix="medassets-tars") as pool:
        for part in pool.map(lambda shard: _read_tar(shard, strict=strict), shards):
            whole.samples += part.samples
            whole.problems += part.problems
            whole.num_damaged += part.num_damaged
    return whole


def _read_tar(shard: FoundShard, *, strict: bool) -> TarSet:
    found = TarSet()
    survey = survey_tar(shard.path)
    for what in _find_tar_problems(shard, survey):
        found.problems.append(TarProblem(shard.path, "", what))
    found.num_damaged = bool(survey.damage)
    if strict:
        what = "a member is followed by bytes that are not empty"
        found.problems += [TarProblem(shard.path, key, what) for key in survey.unclean]
    if survey.damage and survey.samples and not _has_json(survey.samples[-1]):
        # What the damage has cut off is not the sample's own fault.
        survey.samples.pop()
    if survey.samples:
        _take_samples(found, shard.path, survey.samples)
    return found


def _find_tar_problems(shard: FoundShard, survey: TarSurvey) -> Iterable[str]:
    if survey.damage:
        yield survey.damage
    elif not survey.samples:
        yield "holds no sample"
    size = shard.path.stat().st_size if shard.path.exists() else 0
    for what, said, there in (
        ("bytes", shard.size_bytes, size),
        ("samples", shard.num_samples, len(survey.samples)),
    ):
        if said is not None and said != there:
            yield f"has {there:,} {what}, its manifest says {said:,}"


def _has_json(sample: ScannedSample) -> bool:
    return any(suffix == "json" for suffix, _, _ in sample.members)


def _take_samples(found: TarSet, tar: Path, samples: list[ScannedSample]) -> None:
    studies: dict[str, str] = {}
    try:
        with tar.open("rb", buffering=0) as file:
            for scanned in samples:
                sample = _identify(tar, file, scanned, found.problems)
                if sample is None:
                    continue
                found.samples.append(sample)
                if studies.setdefault(sample.key, sample.study_id) != sample.study_id:
                    what = "this key stands twice, with different studies"
                    found.problems.append(TarProblem(tar, sample.key, what))
    except OSError as error:
        found.problems.append(TarProblem(tar, "", f"cannot be read ({error.strerror})"))


def _identify(
    tar: Path, file: IO[bytes], scanned: ScannedSample, problems: list[TarProblem]
) -> StudySample | None:
    members = {suffix: Extent(offset, size) for suffix, offset, size in scanned.members}
    try:
        facts = TarSample(file, members).read_facts("json")
        study_id = read_study_id(facts)
    except ValueError as error:
        what = error.detail if isinstance(error, SampleRejectedError) else str(error)
        problems.append(TarProblem(tar, scanned.key, what))
        return None
    is_ours = "fingerprint" in facts and isinstance(facts.get("preprocessing"), dict)
    if is_ours and scanned.key != make_sample_key(study_id):
        what = f"its json is of study {study_id}; in shards of medassets both are the same"
        problems.append(TarProblem(tar, scanned.key, what))
    return StudySample(tar, scanned.key, study_id, members)
