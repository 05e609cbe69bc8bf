"""The fields that every declaration has."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from medassets.errors import SpecError
from medassets.specs.checks import (
    check_absolute,
    check_choice,
    check_pattern,
    check_range,
    check_types,
)

Automation = Literal["off", "on", "drain"]

DATASET_NAME = re.compile(r"[a-z][a-z0-9_]*")
"""Names that a dataset may have."""
_SPLIT = re.compile(r"[a-z0-9]+")
_RUNS = re.compile(r"per-shard|single|batch: ?[1-9][0-9]*")


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """The fields that every declaration has.

    Attributes:
        name: Dataset name; first part of every asset key and folder name.
        source: Source kind: where the files come from.
        repo_id: `<org>/<name>` of the Hugging Face dataset (source `huggingface`).
        revision: Branch, tag or commit; resolved to a commit sha when the plan is made.
        endpoint: Base URL of the Hub; empty means the client's own default.
        use_token: Send the user's Hugging Face token to the endpoint; False for a hub that needs no
            token and must not receive one.
        folder: Absolute path of the source tree on this machine; `~` is the home folder.
        splits: Splits, named as the source names them.
        samples_per_shard: Samples in a full shard.
        max_rejected_share: A shard with a larger share of rejected samples fails.
        max_excluded_share: A plan that must leave out a larger share of what the source has (bad
            cells, unreadable files, contradictions) fails; absent files and rules do not count.
        runs: One run per shard, `batch: N` shards per run, or one `single` run for a range.
        keep_raw: Keep staged source files after their shard is verified.
        staging_budget_gb: Bytes (in 10**9) that staged files of this dataset may occupy.
        num_workers: Threads that preprocess samples; 0 means one per core.
        memory_budget_gb: Memory (in 10**9 bytes) that the samples of one process may take together; a
            file that claims more is rejected as `too_large`. 0 means a third of the machine's memory,
            or of the container's limit.
        automation: `on` refreshes the catalog by schedule and makes shards that are missing, lost,
            stale or failed, and the manifest after them; `drain` is the old word for it.
        catalog_cron: Cron line of the catalog schedule (UTC).
    """

    name: str
    source: str = "huggingface"
    repo_id: str = ""
    revision: str = "main"
    endpoint: str = ""
    use_token: bool = True
    folder: str = ""
    splits: tuple[str, ...] = ("train", "valid")
    samples_per_shard: int = 128
    max_rejected_share: float = 0.05
    max_excluded_share: float = 0.05
    runs: str = "per-shard"
    keep_raw: bool = False
    staging_budget_gb: float = 200.0
    num_workers: int = 0
    memory_budget_gb: float = 0.0
    automation: Automation = "off"
    catalog_cron: str = "0 5 * * *"

    def __post_init__(self) -> None:
        """Reject values that no kind of dataset can use."""
        check_types(self)
        check_pattern("name", self.name, DATASET_NAME, "lower-case letters, digits and _")
        check_choice("automation", self.automation, get_args(Automation))
        check_pattern("runs", self.runs, _RUNS, "per-shard, single or 'batch: N'")
        if not self.splits or len(set(self.splits)) != len(self.splits):
            raise SpecError(
                field="splits", what=f"expected at least one name, each once, got {self.splits}"
            )
        for split in self.splits:
            check_pattern("splits", split, _SPLIT, "lower-case letters and digits")
        check_range("samples_per_shard", self.samples_per_shard, 1, 1_000_000)
        check_range("max_rejected_share", self.max_rejected_share, 0, 1)
        check_range("max_excluded_share", self.max_excluded_share, 0, 1)
        check_range("staging_budget_gb", self.staging_budget_gb, 0, 1e9)
        check_range("num_workers", self.num_workers, 0, 1024)
        check_range("memory_budget_gb", self.memory_budget_gb, 0, 1e6)
        self._check_places()

    def _check_places(self) -> None:
        if self.folder:
            check_absolute("folder", self.folder)
        if self.endpoint and not re.match(r"https?://", self.endpoint):
            what = f"expected an http(s) URL, got {self.endpoint!r}"
            raise SpecError(field="endpoint", what=what)

    @property
    def memory_budget_bytes(self) -> int:
        """Memory that the samples of one process may take; 0 means a share of the machine's."""
        return int(self.memory_budget_gb * 1e9)

    @property
    def is_automated(self) -> bool:
        """Whether the declaration lets Dagster start shards by itself."""
        return self.automation != "off"

    @property
    def partitions_name(self) -> str:
        """Name of the dynamic partitions definition that holds this dataset's shards."""
        return f"{self.name}_shards"

    @property
    def max_partitions_per_run(self) -> int | None:
        """Shards one run may make; None means no limit."""
        if self.runs == "single":
            return None
        return int(self.runs.split(":")[1]) if self.runs.startswith("batch") else 1
