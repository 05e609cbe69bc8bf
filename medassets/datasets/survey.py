"""What the samples of a whole dataset have in common, and which of them do not fit together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medassets.datasets.kind import DatasetKind
from medassets.errors import MixedOrientationError, Reason
from medassets.shards.record import ShardRecord
from medassets.specs import RAW, CTSourceSpec, VolumeDatasetSpec
from medassets.volumes.summaries import (
    UNORIENTED,
    UNRECORDED,
    Outlier,
    count_orientations,
    find_outliers,
    list_codes,
    sum_shares,
)

_MOST_NAMES = 5


@dataclass(frozen=True)
class Survey:
    """What is known of all samples of a dataset together.

    Attributes:
        facts: Sums over the samples, JSON-like; empty for a dataset without volumes.
        outliers: Volumes whose HU differ from those of the others.
        problems: What keeps manifests from being published, with the remedy.
        doubts: What a person should look at.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    outliers: tuple[Outlier, ...] = ()
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the survey for a JSON document."""
        return {
            **self.facts,
            "outliers": [vars(outlier) for outlier in self.outliers],
            "problems": list(self.problems),
            "doubts": list(self.doubts),
        }

    def list_outliers(self, records: Sequence[ShardRecord]) -> list[dict[str, Any]]:
        """Return the outliers among the samples of some shards, for a JSON document."""
        keys = {sample.key for record in records for sample in record.samples}
        return [vars(outlier) for outlier in self.outliers if outlier.key in keys]

    def lines(self) -> list[str]:
        """Return what a person should know: problems first."""
        return [*self.problems, *self.list_doubts()]

    def list_doubts(self) -> list[str]:
        """Return what a person should look at although manifests are published."""
        more = len(self.outliers) - _MOST_NAMES
        listed = [f"differs from the others: {outlier}" for outlier in self.outliers[:_MOST_NAMES]]
        rest = [f"and {more} more such volumes; --json lists all"] if more > 0 else []
        return [*self.doubts, *listed, *rest]


def survey_records(kind: DatasetKind, records: Sequence[ShardRecord]) -> Survey:
    """Compare the samples of all shards of a dataset with each other and with the declaration.

    Args:
        kind: The declared dataset.
        records: Records of its shards, of all splits.
    """
    spec = kind.spec
    if not isinstance(spec, CTSourceSpec):
        return Survey()
    samples = [(sample.key, sample.facts) for record in records for sample in record.samples]
    facts = sum_facts(records)
    orientations = facts.get("orientations", {})
    problems = _find_unexpected(spec, records) or _find_mix(kind, orientations)
    return Survey(
        facts=facts,
        outliers=tuple(find_outliers(samples)),
        problems=tuple(problems),
        doubts=tuple(_find_doubts(spec, orientations, records)),
    )


def sum_facts(records: Sequence[ShardRecord]) -> dict[str, Any]:
    """Return axis codes and shares of HU of the volumes of some shards, summed up; may be empty."""
    facts = [sample.facts for record in records for sample in record.samples]
    orientations, shares = count_orientations(facts), sum_shares(facts)
    return {
        **({"orientations": orientations} if orientations else {}),
        **({"hu_shares": shares} if shares else {}),
    }


def require_one_orientation(survey: Survey) -> None:
    """Refuse to publish manifests of samples that do not fit together.

    Raises:
        MixedOrientationError: With the counts and the remedy.
    """
    if survey.problems:
        raise MixedOrientationError("; ".join(survey.problems))


def _find_mix(kind: DatasetKind, orientations: Mapping[str, int]) -> list[str]:
    if len(list_codes(orientations)) < 2:
        return []
    counts = ", ".join(f"{code} {count:,}" for code, count in orientations.items())
    spec, source = kind.spec, kind.ct_source
    with_headers = source is not None and source.has_headers
    can_turn = with_headers and isinstance(spec, VolumeDatasetSpec) and spec.preprocessing != RAW
    remedy = (
        "`orientation: LPS` turns all of them alike"
        if can_turn
        else "declare `expected_orientation`, which rejects all others"
    )
    return [
        f"the volumes of {spec.name} have several orientations ({counts}), so that the left and right "
        f"of one are the right and left of another: no manifest is published; {remedy}"
    ]


def _find_unexpected(spec: CTSourceSpec, records: Sequence[ShardRecord]) -> list[str]:
    """Return what was built before the declaration said what it expects."""
    expected = spec.expected_orientation
    found = {
        sample.key: record.partition
        for record in records
        for sample in record.samples
        if sample.facts.get("axis_codes", expected) != expected
    }
    if not expected or not found or _turns(spec):
        return []
    return [
        f"{len(found)} volumes of {spec.name} are not {expected} as expected_orientation says "
        f"({_name_some(list(found))}): no manifest is published; {_force(spec, found.values())}"
    ]


def _force(spec: CTSourceSpec, partitions: Iterable[str]) -> str:
    """Return the command that makes shards again although nothing that they hold has changed."""
    keys = list(dict.fromkeys(partitions))
    return f"`medassets build {spec.name} --force --partitions {','.join(keys)}` makes them again"


def _turns(spec: CTSourceSpec) -> bool:
    return isinstance(spec, VolumeDatasetSpec) and spec.orientation != "as_stored"


def _find_doubts(
    spec: CTSourceSpec, orientations: Mapping[str, int], records: Sequence[ShardRecord]
) -> list[str]:
    doubts: list[str] = []
    if list_codes(orientations):
        words = {
            UNORIENTED: "state no orientation, so that nothing tells left from right",
            UNRECORDED: "were built by a version that did not record the orientation",
        }
        doubts += [
            f"{orientations[n]:,} volumes {w}" for n, w in words.items() if n in orientations
        ]
    disputed = _list_keys_with("rival_axis_codes", records)
    if disputed:
        doubts.append(
            f"of volumes whose sform and qform state different orientations, the sform is used: "
            f"{len(disputed)} ({_name_some(disputed)})"
        )
    identical = _list_keys_with("identity_affine", records)
    if identical:
        doubts.append(
            f"{len(identical)} volumes state 1 mm along every axis and no turn, as programs write that lose "
            f"the transform ({_name_some(identical)}); is that their spacing?"
        )
    doubtful = {
        sample.key: sample.facts["hu_doubt"]
        for record in records
        for sample in record.samples
        if "hu_doubt" in sample.facts
    }
    if doubtful:
        doubts.append(
            f"by hu_rule {spec.stated_hu_rule}, {len(doubtful)} volumes do not have the HU of a chest "
            f"({_name_some(list(doubtful))}); stored values are kept, so that training applies what "
            f"the json states. The first: {next(iter(doubtful.values()))}"
        )
    ending = f"expected {spec.expected_orientation} as declared by expected_orientation"
    stale = {
        rejected.key: record.partition
        for record in records
        for rejected in record.rejected
        if rejected.reason == Reason.UNEXPECTED_ORIENTATION and not rejected.detail.endswith(ending)
    }
    if stale:
        doubts.append(
            f"{len(stale)} volumes were rejected under another expected_orientation "
            f"({_name_some(list(stale))}); {_force(spec, stale.values())}"
        )
    return doubts


def _list_keys_with(fact: str, records: Sequence[ShardRecord]) -> list[str]:
    return [sample.key for record in records for sample in record.samples if fact in sample.facts]


def _name_some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _MOST_NAMES} more" if len(keys) > _MOST_NAMES else ""
    return ", ".join(keys[:_MOST_NAMES]) + more
