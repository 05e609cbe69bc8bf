"""`medassets verify`: compare shards with their records, or preprocessed samples with originals."""

from dataclasses import dataclass
from typing import Any

import click

from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output
from medassets.cli.formatting import count_words
from medassets.cli.main import EXIT_FAILED
from medassets.cli.notes.accounts import describe_account, name_first_items
from medassets.cli.selection import parse_partitions
from medassets.cli.session import Session
from medassets.datasets.accounts import take_accounts
from medassets.datasets.manifests.problems import find_manifest_problems
from medassets.datasets.manifests.publication import survey_dataset
from medassets.datasets.recovery.strays import find_strays
from medassets.datasets.survey import Survey
from medassets.datasets.verify import VerifyReport, verify_dataset
from medassets.datasets.workspace import Workspace
from medassets.reclaim.verify import find_lost_samples
from medassets.shards.account import Account, join_accounts
from medassets.shards.verify import Problem

_ONE_OF_BOTH = "{} and {} cannot be combined: DATASET is compared with its records, tars with tars"


@click.command(name="verify")
@click.argument("dataset", required=False, shell_complete=complete_datasets)
@click.option("--quick/--full", default=None, help="Sizes only, or every byte (the default).")
@click.option(
    "--partitions", help="Shards by key or range: valid-000000,train-000003..train-000009."
)
@click.option("--stage", help="Only this stage of shards; default: all stages.")
@click.option(
    "--original-pattern", help="Without DATASET: tars of raw samples; pattern, folder or manifest."
)
@click.option("--preprocessed-pattern", help="Tars of the samples made of them, likewise.")
@click.option(
    "--num-samples",
    type=click.IntRange(1),
    help="Number of samples to compare, spread over the tars; default: all.",
)
@click.option(
    "--hu-rule",
    type=click.Choice(["none", "table"]),
    help="How raw values become HU; default: as the json of the sample says, else table.",
)
@click.option("--array-key", help="Name of the array in a .npz; default: data.")
@click.option("--label-type", help="Type of raw labels, such as int32; default: the one that fits.")
@click.option("--seed", type=int, help="Seed of the choice of --num-samples; default: 0.")
@click.option("--num-workers", type=click.IntRange(0), help="Threads; 0: one per core.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    dataset: str | None,
    quick: bool | None,
    partitions: str | None,
    stage: str | None,
    *,
    as_json: bool,
    **pair_options: Any,
) -> int:
    """Check the published shards of DATASET; exit code 1 and a remedy for each that is damaged.

    Samples whose sources were deleted must be in a shard.

    With --original-pattern and --preprocessed-pattern instead of DATASET, make samples again from
    the raw tars and compare volume (within one float16 step; exactly where nothing was resampled),
    labels and text; the studies of both sides are always compared.
    """
    asked = {name: value for name, value in pair_options.items() if value is not None}
    output = Output(as_json)
    if dataset is None:
        refuse = {"--quick/--full": quick, "--partitions": partitions, "--stage": stage}
        return _verify_pairs(output, asked, [k for k, v in refuse.items() if v is not None])
    if asked:
        raise click.UsageError(_ONE_OF_BOTH.format("DATASET", _name_options(asked)))
    return _verify_dataset(output, dataset, partitions, stage or "", quick=bool(quick))


def _verify_pairs(output: Output, asked: dict[str, Any], refused: list[str]) -> int:
    from medassets.cli.verify_pairs import PairOptions, verify_pairs

    if not {"original_pattern", "preprocessed_pattern"} <= set(asked):
        msg = "give DATASET, or both --original-pattern and --preprocessed-pattern"
        raise click.UsageError(msg)
    if refused:
        raise click.UsageError(_ONE_OF_BOTH.format(refused[0], "--original-pattern"))
    options = PairOptions(
        original=asked["original_pattern"],
        preprocessed=asked["preprocessed_pattern"],
        num_samples=asked.get("num_samples"),
        hu_rule=asked.get("hu_rule"),
        array_key=asked.get("array_key", "data"),
        label_type=_parse_label_type(asked.get("label_type")),
        seed=asked.get("seed", 0),
        num_workers=asked.get("num_workers", 0),
    )
    return verify_pairs(output, options)


def _parse_label_type(name: str | None) -> str | None:
    from medassets.storage.formats.label_types import parse_label_type

    try:
        return None if name is None else parse_label_type(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--label-type") from error


def _name_options(asked: dict[str, Any]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in asked)


def _verify_dataset(
    output: Output, dataset: str, partitions: str | None, stage: str, *, quick: bool
) -> int:
    session = Session()
    known = session.stages(dataset)
    stages = [stage] if stage else session.live_stages(dataset)
    found = [
        # Only what is trained on has manifests.
        _verify(session, dataset, s, partitions, quick=quick, with_manifest=s == known[0])
        for s in stages
    ]
    for one in found:
        _tell(output, one, quick=quick, several=len(known) > 1)
    if remedies := [one.remedy for one in found if one.damaged]:
        output.warn(f"make them again:  {' && '.join(remedies)}")
    output.result(_as_document(dataset, found))
    return EXIT_FAILED if any(one.lines for one in found) else 0


def _verify(
    session: Session,
    dataset: str,
    stage: str,
    partitions: str | None,
    *,
    quick: bool,
    with_manifest: bool,
) -> "_Found":
    workspace = session.workspace(dataset, stage)
    planned = list(workspace.read_plan().partitions)
    keys = parse_partitions(partitions, planned)
    made = session.recorded(workspace, keys).materialized
    report = verify_dataset(workspace, keys, full=not quick, made=made)
    others: list[str] = []
    if not partitions:
        others = find_manifest_problems(workspace) if with_manifest else []
        others += find_strays(workspace)
    account = join_accounts(take_accounts(workspace).values())
    lost, survey = find_lost_samples(workspace, keys), survey_dataset(workspace)
    return _Found(workspace, report, others, lost, account, survey)


def _tell(output: Output, found: "_Found", *, quick: bool, several: bool) -> None:
    output.warn_of(found.lines)
    kind, report = found.workspace.kind, found.report
    name = f"{kind.spec.name}: {kind.stage}" if several else kind.spec.name
    output.say(describe_account(name, found.account))
    how = "sizes only" if quick else "every byte"
    output.say(
        f"{name}: {count_words(len(report.checked), 'shard')} checked ({how}), "
        f"{len(found.damaged)} damaged, {len(report.absent)} not made yet"
    )
    for line in [*name_first_items(kind.spec.name, found.account), *found.survey.list_doubts()]:
        output.say(line)


def _as_document(dataset: str, found: list["_Found"]) -> dict[str, Any]:
    """Return the problems of all stages together, and of each stage."""
    together: dict[str, Any] = {"dataset": dataset}
    stages = {one.workspace.kind.stage: one.as_dict() for one in found}
    for name in ("checked", "absent", "damaged"):
        together[name] = list(dict.fromkeys(key for one in stages.values() for key in one[name]))
    for name in ("problems", "manifests", "lost"):
        together[name] = [entry for one in stages.values() for entry in one[name]]
    remedies = [one["remedy"] for one in stages.values() if one["remedy"]]
    together["account"] = found[0].account.as_dict()
    together["survey"] = found[0].survey.as_dict()
    return {**together, "remedy": " && ".join(remedies) or None, "stages": stages}


@dataclass(frozen=True)
class _Found:
    """The problems of one stage."""

    workspace: Workspace
    report: VerifyReport
    others: list[str]
    lost: list[str]
    account: Account
    survey: Survey

    @property
    def lines(self) -> list[str]:
        """All problems, a line each."""
        lines = [*map(str, self.report.problems), *self.others, *self.lost]
        if self.account.num_unaccounted:
            lines.append(f"the account does not add up: {self.account.describe()}")
        return lines

    @property
    def damaged(self) -> list[str]:
        """Keys of the shards that are damaged, each once."""
        return list(dict.fromkeys(problem.partition for problem in self.report.problems))

    @property
    def remedy(self) -> str:
        """The commands that put them back or build them again."""
        paths, problems = self.workspace.paths, self.report.problems
        misplaced = {problem.partition for problem in problems if problem.is_misplaced}
        again = [key for key in self.damaged if key not in misplaced]
        commands = [paths.reconcile_command] if misplaced else []
        if again:
            commands.append(f"{paths.build_command} --partitions {','.join(again)} --force")
        return " && ".join(commands)

    def as_dict(self) -> dict[str, Any]:
        """Return the stage as the JSON document holds it."""
        stage = self.workspace.kind.stage
        return {
            "checked": self.report.checked,
            "absent": self.report.absent,
            "damaged": self.damaged,
            "problems": [_as_dict(problem, stage) for problem in self.report.problems],
            "manifests": self.others,
            "lost": self.lost,
            "account": self.account.as_dict(),
            "survey": self.survey.as_dict(),
            "remedy": self.remedy if self.damaged else None,
        }


def _as_dict(problem: Problem, stage: str) -> dict[str, str]:
    return {
        "stage": stage,
        "partition": problem.partition,
        "path": str(problem.path),
        "sample": problem.sample,
        "what": problem.what,
    }
