"""Results of comparing two datasets, per sample and in total."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from medassets.comparison.samples import (
    CompareSettings,
    Comparison,
    compare_pair,
    describe_comparison,
)
from medassets.comparison.studies import Pair, StudySets, choose_pairs, match_studies
from medassets.comparison.tars import StudySample, TarProblem, TarSet, read_tar_set
from medassets.comparison.values import ValueDifferences
from medassets.shards.pipeline import iter_in_order
from medassets.storage.buffers import BufferPool
from medassets.tars.lists import find_shards


@dataclass
class PairReport:
    """The comparison of two datasets.

    Attributes:
        originals: Tars of the originals.
        preprocessed: Tars of the preprocessed samples.
        sets: Samples matched by study.
        chosen: The pairs to compare.
        compared: Comparisons so far, as the JSON document holds them.
        num_passed: Samples without differences.
        values: Counts over all values compared.
    """

    originals: TarSet
    preprocessed: TarSet
    sets: StudySets
    chosen: Sequence[Pair]
    compared: list[dict[str, Any]] = field(default_factory=list)
    num_passed: int = 0
    values: ValueDifferences = field(default_factory=ValueDifferences)

    @property
    def num_failed(self) -> int:
        """Number of samples with differences."""
        return len(self.compared) - self.num_passed

    @property
    def problems(self) -> list[TarProblem]:
        """Problems of tars, and of samples whose study is not known."""
        return [*self.originals.problems, *self.preprocessed.problems]

    @property
    def is_whole(self) -> bool:
        """Whether there are no differences and no problems."""
        sets = self.sets
        return not (
            self.num_failed or sets.missing or sets.extra or sets.duplicates or self.problems
        )

    def add(self, comparison: Comparison) -> None:
        """Count one comparison."""
        self.compared.append(describe_comparison(comparison))
        self.num_passed += not comparison.differences
        if comparison.values is not None:
            self.values += comparison.values

    def findings(self) -> Iterator[str]:
        """Yield all problems besides the compared samples, a line each."""
        yield from map(str, self.problems)
        hint = _hint(self.preprocessed, "preprocessed")
        for sample in self.sets.missing:
            yield f"missing: {sample.study_id} ({sample.place}) is in no preprocessed tar{hint}"
        hint = _hint(self.originals, "original")
        for sample in self.sets.extra:
            yield f"extra: {sample.study_id} ({sample.place}) is in no original tar{hint}"
        yield from map(str, self.sets.duplicates)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as the JSON document holds it."""
        sets = self.sets
        return {
            "ok": self.is_whole,
            "num_original": len(self.originals.samples),
            "num_preprocessed": len(self.preprocessed.samples),
            "compared": len(self.compared),
            "passed": self.num_passed,
            "failed": self.num_failed,
            "missing": [_describe(sample) for sample in sets.missing],
            "extra": [_describe(sample) for sample in sets.extra],
            "duplicates": [
                {
                    "study_id": found.study_id,
                    "side": found.side,
                    "samples": [_describe(sample) for sample in found.samples],
                }
                for found in sets.duplicates
            ],
            "problems": [
                {"shard": str(found.tar), "key": found.key, "what": found.what}
                for found in self.problems
            ],
            "share_differing": self.values.share,
            "max_difference": self.values.largest,
            "mean_difference": self.values.mean,
            "samples": self.compared,
        }


def open_report(
    original: str, preprocessed: str, *, num_samples: int | None, seed: int
) -> PairReport:
    """Read headers and jsons of two datasets, and choose what to compare.

    Args:
        original: Pattern, folder, manifest or tar of the originals.
        preprocessed: Likewise.
        num_samples: Samples to compare, spread over the preprocessed tars; None takes all.
        seed: Decides which.

    Raises:
        ShardIntegrityError: If one of them names no tar, or one twice.
    """
    before = read_tar_set(find_shards(original))
    after = read_tar_set(find_shards(preprocessed))
    sets = match_studies(before.samples, after.samples)
    return PairReport(before, after, sets, choose_pairs(sets.pairs, num_samples, seed=seed))


def iter_comparisons(
    report: PairReport, settings: CompareSettings, *, num_workers: int
) -> Iterator[Comparison]:
    """Yield the comparison of each chosen pair, in order, and count it in the report.

    Args:
        report: What to compare.
        settings: Settings that the jsons do not give.
        num_workers: Threads, with the volumes of one sample each.
    """
    buffers = BufferPool()

    def compare(pair: Pair) -> Comparison:
        return compare_pair(pair, settings, buffers)

    with closing(iter_in_order(report.chosen, compare, num_workers=num_workers)) as results:
        for comparison in results:
            report.add(comparison)
            yield comparison


def _describe(sample: StudySample) -> dict[str, str]:
    return {"study_id": sample.study_id, "shard": str(sample.tar), "key": sample.key}


def _hint(side: TarSet, name: str) -> str:
    if not side.num_damaged:
        return ""
    return f" that can be read; {side.num_damaged} {name} tars are damaged"
