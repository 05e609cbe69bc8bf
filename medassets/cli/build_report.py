"""Reports what a build did, as lines for the terminal and as a JSON document."""

from collections import Counter
from dataclasses import asdict, dataclass, field, replace

from medassets.cli.console import Output
from medassets.cli.formatting import count_words, format_bytes, format_seconds
from medassets.cli.notes.accounts import describe_account, name_first_items
from medassets.cli.notes.sources import TableProblems
from medassets.cli.notes.upstream import describe_left, describe_refresh
from medassets.cli.reclaiming import Reclaimed
from medassets.cli.selection import BuildOptions
from medassets.datasets.survey import Survey
from medassets.datasets.upstream.move import Upstream
from medassets.errors import TRANSIENT_REASONS
from medassets.shards.account import Account
from medassets.stages import CommonStage, VolumeStage


@dataclass
class BuildReport:
    """What a build did.

    Attributes:
        dataset: Dataset name.
        stages: The stages of shards that were looked at, in order. Where they are made one after
            the other, the shards of all but the last are named `<stage>/<key>`.
        built: Shards made.
        recorded: Shards that were complete on disk and are now in Dagster's record.
        failed: Shards, or `catalog` or `manifest`, and why.
        kept: Shards that were done already, of those asked for.
        left: Other shards that are still to be made.
        accounts: Stage -> state of every source item when the build ended.
        survey: What the samples built so far have in common, and what a person should look at.
        manifests_kept: Why published manifests stay as they are, one line for each reason.
        held: Samples that wait for a build without `--limit`.
        excluded: Rows of the source that cannot become samples, by reason.
        table_problems: Rows of the source's tables that cannot be used; the first, and how many.
        error: Why there is nothing to build at all, or what ended a build that had done something;
            else empty.
        num_samples: Samples of the shards made.
        rejected: Their rejected items, by reason.
        num_bytes: Bytes of the shards made.
        fetched_bytes: Bytes that arrived from a remote source, repeated ones among them.
        upstream: What the catalog says of a source with revisions.
        has_moved: Whether this build found the source elsewhere than the last one.
        seconds: Wall-clock seconds of the whole build.
        interrupted: The user stopped it.
        reclaimed: Result of the deletion of sources, if requested.
    """

    dataset: str
    stages: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    kept: int = 0
    left: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)
    survey: Survey = field(default_factory=Survey)
    manifests_kept: list[str] = field(default_factory=list)
    held: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    table_problems: TableProblems = field(default_factory=TableProblems)
    error: str = ""
    num_samples: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    num_bytes: int = 0
    fetched_bytes: int = 0
    upstream: Upstream | None = None
    has_moved: bool = False
    seconds: float = 0.0
    interrupted: bool = False
    reclaimed: Reclaimed = field(default_factory=Reclaimed)

    @property
    def account(self) -> Account | None:
        """The account of the last stage that was looked at; None without a catalog."""
        return self.accounts.get(self.stages[-1]) if self.stages else None

    @property
    def did_something(self) -> bool:
        """Whether there is anything to report besides the error."""
        return bool(self.built or self.recorded or self.reclaimed.reports)


def tell_report(output: Output, report: BuildReport, options: BuildOptions, code: int) -> None:
    """Print what a build did, and what to do about what failed."""
    document = asdict(replace(report, reclaimed=Reclaimed()))
    # `asdict` of Python 3.11 makes a Counter of a Counter's items.
    document["rejected"] = dict(report.rejected)
    document["accounts"] = {stage: one.as_dict() for stage, one in report.accounts.items()}
    if report.account is not None:
        document["account"] = report.account.as_dict()
    document["survey"] = report.survey.as_dict()
    document["table_problems"] = report.table_problems.as_dict()
    del document["has_moved"]
    if report.upstream is not None:
        document["upstream"] = report.upstream.as_dict()
    else:
        del document["upstream"]
    if options.delete_sources:
        document["reclaimed"] = report.reclaimed.as_dict()
    else:
        del document["reclaimed"]
    if not report.error:
        # As in every command, the key is there only if an error ended the command.
        del document["error"]
    else:
        document["exit_code"] = code
    output.result(document)
    for line in _summarize(report):
        output.say(line)
    for line in report.manifests_kept:
        output.warn(line)
    if report.error:
        output.warn(report.error)
    shards = [name for name in report.failed if name not in set(CommonStage)]
    shards = [name for name in shards if not name.startswith(VolumeStage.RECLAIMED_SOURCES)]
    if shards:
        again = f"`medassets retry {report.dataset}`"
        output.warn(f"failed: {', '.join(shards)}; {again} tries them again")
    if report.interrupted or (report.error and report.did_something):
        output.warn(_describe_stop(report, options))


def _describe_stop(report: BuildReport, options: BuildOptions) -> str:
    """Return what was done, deleted and kept when the build was stopped, and how to go on."""
    num_done = len(report.built) + len(report.recorded)
    gone = report.reclaimed.line()
    if options.delete_sources and not gone:
        gone = "no source deleted"
    return (
        f"{'interrupted' if report.interrupted else 'stopped'} after "
        f"{count_words(num_done, 'shard')}{'; ' + gone if gone else ''}; "
        f"`{_name_command(report, options)}` continues after the last whole sample"
    )


def _name_command(report: BuildReport, options: BuildOptions) -> str:
    mode = f" --mode {options.mode}" if options.mode != "full" else ""
    delete = " --delete-sources" if options.delete_sources else ""
    return f"medassets {'retry' if options.live else 'build'} {report.dataset}{mode}{delete}"


def _describe_move(report: BuildReport) -> list[str]:
    """Return what this build found and did at a source that moved."""
    if report.upstream is None:
        return []
    if report.has_moved:
        return describe_refresh(report.upstream, report.dataset)
    return describe_left(report.upstream, report.dataset)


def _summarize(report: BuildReport) -> list[str]:
    if CommonStage.CATALOG in report.failed:
        return [f"{report.dataset}: nothing built, the catalog could not be refreshed"]
    if report.error and not report.did_something:
        return report.table_problems.lines()
    made = f"{count_words(report.num_samples, 'sample')}, {format_bytes(report.num_bytes)}"
    parts = [f"{count_words(len(report.built), 'shard')} built" + f" ({made})" * bool(report.built)]
    if report.recorded:
        parts.append(f"{len(report.recorded)} recorded without computing")
    parts.append(f"{report.kept} kept")
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    several = len(report.accounts) > 1
    lines = [
        describe_account(f"{report.dataset}: {stage}" if several else report.dataset, account)
        for stage, account in report.accounts.items()
    ]
    lines.append(f"{report.dataset}: {', '.join(parts)}, in {format_seconds(report.seconds)}")
    if report.rejected:
        reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(report.rejected.items()))
        lines.append(f"  rejected: {count_words(report.rejected.total(), 'sample')} ({reasons})")
    if num_again := sum(report.rejected[reason] for reason in TRANSIENT_REASONS):
        again = f"because of a transient failure; `medassets retry {report.dataset}` tries again"
        lines.append(f"  {count_words(num_again, 'sample')} of them {again}")
    if report.fetched_bytes:
        lines.append(f"  fetched from the source: {format_bytes(report.fetched_bytes)}")
    lines += [f"  {line}" for line in _describe_move(report)]
    if report.account is not None:
        lines += name_first_items(report.dataset, report.account)
    lines += report.table_problems.lines()
    lines += [f"  {line}" for line in report.survey.list_doubts()]
    if report.left:
        lines.append(f"  not asked for and still to be made: {count_words(report.left, 'shard')}")
    if report.held:
        lines.append(f"  held for a build without --limit: {count_words(report.held, 'sample')}")
    lines += report.reclaimed.lines()
    return lines
