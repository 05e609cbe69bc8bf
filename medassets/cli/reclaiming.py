"""Deleting sources from the terminal: the question, the runs, and what came of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from medassets.cli.console import Output
from medassets.cli.words import count_words, format_bytes
from medassets.datasets.reclaim import CONFIRMATION, ReclaimReport

_MOST_NAMES = 20


def ask_for_confirmation(output: Output, dataset: str, *, yes: bool, otherwise: str) -> bool:
    """Return whether the user typed the word that lets a run delete source files.

    Args:
        output: Where the warning goes.
        dataset: Whose sources.
        yes: The user said so on the command line; nothing is asked.
        otherwise: What happens without the word.
    """
    if yes:
        return True
    output.warn(
        f"{dataset}: source files that are proven to be in a shard will be deleted. Nothing brings "
        f"them back."
    )
    try:
        answer = click.prompt(
            f"Type {CONFIRMATION} to go on", default="", show_default=False, err=True
        )
    except click.Abort:
        # No terminal, or Ctrl-D.
        answer = ""
    if answer.strip() == CONFIRMATION:
        return True
    output.warn(f"{dataset}: not confirmed; {otherwise}")
    return False


@dataclass
class Reclaimed:
    """What became of the sources of several shards.

    Attributes:
        reports: One per shard that was looked at.
    """

    reports: list[ReclaimReport] = field(default_factory=list)

    @property
    def num_deleted(self) -> int:
        """Files that were deleted by these runs."""
        return sum(len(report.deleted) for report in self.reports)

    @property
    def freed_bytes(self) -> int:
        """Bytes of those files."""
        return sum(report.freed_bytes for report in self.reports)

    @property
    def troubles(self) -> list[str]:
        """What has to be looked at, with the shard it is about."""
        return [f"{r.partition_key}: {line}" for r in self.reports for line in r.troubles]

    def lines(self) -> list[str]:
        """Return what a person should know; the last line says what was kept, and why."""
        if not self.reports:
            return []
        parts = [f"{count_words(self.num_deleted, 'source')} deleted"]
        parts[0] += f", {format_bytes(self.freed_bytes)} freed"
        if vanished := sum(len(report.vanished) for report in self.reports):
            parts.append(f"{vanished:,} gone before, by other hands")
        return [f"  {'; '.join(parts)}", self._describe_kept()]

    def as_dict(self) -> dict[str, Any]:
        """Return the same for a program, with every file."""
        return {
            "deleted": [d.path for report in self.reports for d in report.deleted],
            "freed_bytes": self.freed_bytes,
            "would_delete": [
                {"path": file.path, "partition": report.partition_key}
                for report in self.reports
                for file in report.deletable
            ],
            "vanished": [path for report in self.reports for path in report.vanished],
            "kept": [
                {"path": kept.path, "bytes": kept.num_bytes, "why": kept.why}
                for report in self.reports
                for kept in report.kept
            ],
            "troubles": self.troubles,
        }

    def _describe_kept(self) -> str:
        kept = [one for report in self.reports for one in report.kept]
        stopped = [report for report in self.reports if report.problems]
        words = [f"{count_words(len(kept), 'source')} kept"]
        if kept:
            reasons = Counter(one.why.partition(":")[0] for one in kept)
            words[0] += f" ({', '.join(_name_some([one.path for one in kept]))})"
            words += [f"{count:,} because {why}" for why, count in reasons.most_common(3)]
        if stopped:
            names = ", ".join(_name_some([report.partition_key for report in stopped]))
            words.append(f"nothing of {names} was deleted: the shard is not what its sources make")
        return f"  {'; '.join(words)}"


def _name_some(names: Sequence[str]) -> list[str]:
    more = [f"and {len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return [*names[:_MOST_NAMES], *more]
