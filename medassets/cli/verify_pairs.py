"""`medassets verify --original-pattern ...`: compare preprocessed shards with their originals."""

import os
from dataclasses import dataclass

from medassets.cli.console import Output
from medassets.cli.formatting import count_words
from medassets.cli.main import EXIT_FAILED
from medassets.comparison.report import PairReport, iter_comparisons, open_report
from medassets.comparison.samples import CompareSettings, Comparison
from medassets.specs import HuRule


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """Options of `medassets verify` for two datasets."""

    original: str
    preprocessed: str
    num_samples: int | None
    hu_rule: HuRule | None
    array_key: str
    label_type: str | None
    seed: int
    num_workers: int


def verify_pairs(output: Output, options: PairOptions) -> int:
    """Compare two datasets, report the differences, and return the exit code."""
    report = open_report(
        options.original,
        options.preprocessed,
        num_samples=options.num_samples,
        seed=options.seed,
    )
    for finding in report.findings():
        output.warn(finding)
    settings = CompareSettings(options.hu_rule, options.array_key, options.label_type)
    workers = options.num_workers or os.cpu_count() or 1
    for comparison in iter_comparisons(report, settings, num_workers=workers):
        _tell(output, comparison)
    _summarize(output, report)
    names = {"original": options.original, "preprocessed": options.preprocessed}
    output.result({**names, "seed": options.seed, **report.as_dict()})
    return 0 if report.is_whole else EXIT_FAILED


def _tell(output: Output, comparison: Comparison) -> None:
    sample = comparison.sample
    if comparison.differences:
        what = "; ".join(comparison.differences)
        output.warn(f"failed: {sample.study_id} ({sample.place}): {what}")
    else:
        output.say(f"ok: {sample.study_id} ({sample.place}): {comparison.values}")


def _summarize(output: Output, report: PairReport) -> None:
    sets, values = report.sets, report.values
    all_pairs = len(sets.pairs)
    some = f" of {all_pairs:,}" if len(report.compared) < all_pairs else ""
    output.say(
        f"{len(report.compared):,}{some} samples compared: {report.num_passed:,} passed, "
        f"{report.num_failed:,} failed; {len(sets.missing):,} missing, {len(sets.extra):,} extra, "
        f"{count_words(len(sets.duplicates), 'duplicate')}, "
        f"{count_words(len(report.problems), 'other problem')}; "
        f"largest difference {values.largest:.4g}, mean {values.mean:.3g}"
    )
