"""What a reconciliation found, did and left to the user."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class StageReport:
    """What was found in one stage of shards.

    Attributes:
        stage: The stage.
        shards: State -> number of planned shards, after the repairs.
        reported: Whole shards that Dagster is told of without a run.
        repaired: Other repairs, one line each.
        problems: What is left to the user, one line each.
    """

    stage: str
    shards: dict[str, int] = field(default_factory=dict)
    reported: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class ReconcileReport:
    """What was found in one dataset.

    Attributes:
        dataset: Its name.
        is_dry_run: Whether nothing was written: repairs are those that would be made.
        set_aside: Name under which a damaged catalog is kept; empty if there was none.
        restored: Partition keys whose members were restored from records.
        new_partitions: Partition keys that Dagster did not know.
        stages: Its stages of shards, in the order of the declaration.
    """

    dataset: str
    is_dry_run: bool = False
    set_aside: str = ""
    restored: tuple[str, ...] = ()
    new_partitions: list[str] = field(default_factory=list)
    stages: list[StageReport] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """All that is left to the user."""
        return [line for stage in self.stages for line in stage.problems]

    @property
    def did_something(self) -> bool:
        """Whether anything was repaired, or would be."""
        parts: Iterable[object] = (
            self.set_aside,
            self.restored,
            self.new_partitions,
            *(part for stage in self.stages for part in (stage.reported, stage.repaired)),
        )
        return any(parts)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do, neither for a user nor for a run that writes."""
        return not self.problems and not (self.is_dry_run and self.did_something)

    def lines(self) -> list[str]:
        """Return what was repaired, one line each."""
        will = "would be " if self.is_dry_run else ""
        lines: list[str] = []
        if self.set_aside:
            lines.append(f"the catalog is damaged; it {will or 'is '}kept as {self.set_aside}")
        if self.restored:
            lines.append(f"the plan of {len(self.restored)} shards {will}restored from records")
        if self.new_partitions:
            lines.append(f"{len(self.new_partitions)} partitions {will}made known to Dagster")
        for stage in self.stages:
            if stage.reported:
                lines.append(f"{stage.stage}: {len(stage.reported)} whole shards {will}recorded")
            prefix = "to do: " if self.is_dry_run else ""
            lines += [f"{stage.stage}: {prefix}{line}" for line in stage.repaired]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "settled": self.is_settled, "problems": self.problems}
