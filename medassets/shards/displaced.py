"""Samples that are not where their record says: missing, unknown, there twice or out of order."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from medassets.shards.readback import find_damage
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.tars.blocks import HEADER_BYTES
from medassets.tars.scan import ScannedSample
from medassets.tars.survey import TarSurvey, survey_tar


def find_displaced(fd: int, shard: Path, record: ShardRecord) -> list[tuple[str, str]]:
    """Return sample and trouble where a tar has another sequence of samples than its record.

    Every recorded sample is then compared where it stands now, so that one that is taken out does
    not make all behind it look damaged.

    Args:
        fd: Descriptor of the tar.
        shard: The same, by name.
        record: What should be there.

    Returns:
        Nothing if all samples whose headers can be read are where they should be.
    """
    survey = survey_tar(shard)
    recorded = [sample.key for sample in record.samples]
    there = [sample.key for sample in survey.samples]
    if there == (recorded[: len(there)] if survey.damage else recorded):
        return []
    found = [*_compare_keys(recorded, there, survey), *_find_shifted_damage(fd, record, survey)]
    return [*found, ("", survey.damage)] if survey.damage else found


def _compare_keys(
    recorded: list[str], there: list[str], survey: TarSurvey
) -> Iterator[tuple[str, str]]:
    known, counts = set(recorded), Counter(there)
    missing = "is not found before the damage" if survey.damage else "is missing"
    yield from ((key, missing) for key in dict.fromkeys(recorded) if key not in counts)
    for key, count in counts.items():
        if key not in known:
            yield key, "stands in the shard, but not in its record"
        if count > 1:
            yield key, f"stands in the shard {count} times"
    expected = [key for key in dict.fromkeys(recorded) if key in counts]
    actual = [key for key in counts if key in known]
    for right, wrong in zip(expected, actual, strict=True):
        if right != wrong:
            yield wrong, f"stands where {right} should"


def _find_shifted_damage(
    fd: int, record: ShardRecord, survey: TarSurvey
) -> Iterator[tuple[str, str]]:
    places = {sample.key: sample for sample in reversed(survey.samples)}
    for entry in record.samples:
        if entry.key in places and entry.members:
            for what in find_damage(fd, _move(entry, places[entry.key])):
                yield entry.key, what


def _move(entry: SampleEntry, found: ScannedSample) -> SampleEntry:
    """Return an entry as it would be if the sample began where it was found."""
    offset = found.members[0][1] - HEADER_BYTES
    step = offset - entry.offset
    members = tuple(replace(member, offset=member.offset + step) for member in entry.members)
    return replace(entry, offset=offset, members=members)
