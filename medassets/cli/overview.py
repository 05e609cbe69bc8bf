"""`medassets status` without a dataset: one line for each that is declared."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from medassets.cli.console import Output
from medassets.cli.main import EXIT_FAILED
from medassets.cli.session import Session
from medassets.datasets.accounts import take_accounts
from medassets.errors import MedassetsError
from medassets.shards.account import join_accounts


@dataclass(frozen=True)
class DatasetLine:
    """One declared dataset.

    Attributes:
        name: Its name.
        kind: What its samples are.
        source: Value of `source`.
        planned: Whether it has a plan.
        items: Source items of the plan.
        done: Items that are samples.
        left: Items whose shard is still to be made.
        others: Items that are rejected, excluded or held.
        problem: Why it cannot be counted; empty if it can.
    """

    name: str
    kind: str
    source: str
    planned: bool = False
    items: int = 0
    done: int = 0
    left: int = 0
    others: int = 0
    problem: str = ""

    def state(self) -> str:
        """Return the state in a few words."""
        if self.problem:
            return self.problem
        if not self.planned:
            return "not planned yet"
        return f"{self.left:,} left" if self.left else "complete"


def show_overview(session: Session, output: Output) -> int:
    """Print a line per dataset, as the disk tells it; return 1 if a declaration or a plan is broken."""
    lines = list(_iter_lines(session))
    rows = [[one.name, one.kind, one.source, *_list_counts(one), one.state()] for one in lines]
    columns = ["dataset", "kind", "source", "items", "done", "left", "left out", "state"]
    output.table("", columns, rows)
    problems = [str(problem) for problem in session.loaded.problems]
    output.warn_of(problems)
    output.result({"datasets": [asdict(one) for one in lines], "problems": problems})
    return EXIT_FAILED if problems or any(one.problem for one in lines) else 0


def _iter_lines(session: Session) -> Iterator[DatasetLine]:
    for name, declared in sorted(session.loaded.datasets.items()):
        workspace = session.workspace(name)
        line = DatasetLine(name, workspace.kind.TITLE, declared.spec.source)
        if not workspace.paths.catalog.exists():
            yield line
            continue
        try:
            account = join_accounts(take_accounts(workspace).values())
        except MedassetsError as error:
            yield DatasetLine(line.name, line.kind, line.source, planned=True, problem=str(error))
            continue
        left = sum(account.left.values())
        others = account.items - account.done - left
        yield DatasetLine(
            line.name, line.kind, line.source, True, account.items, account.done, left, others
        )


def _list_counts(line: DatasetLine) -> list[str]:
    if not line.planned or line.problem:
        return ["-"] * 4
    return [f"{count:,}" for count in (line.items, line.done, line.left, line.others)]
