"""Sources in the layout of CT-RATE: NIfTI volumes and tables, on a hub or in a folder."""

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from medassets.datasets.ct_sources.base import (
    CTSource,
    check_inside,
    check_table_labels,
    require_fields,
)
from medassets.datasets.hu_rules import check_table_rule
from medassets.errors import SpecError
from medassets.samples import SourceItem
from medassets.sources.base import Source
from medassets.sources.hub import HubSource
from medassets.volumes.catalog.columns import drop_texts
from medassets.volumes.catalog.ct_rate import read_rows
from medassets.volumes.catalog.ct_rate_names import table_paths, volumes_pattern
from medassets.volumes.catalog.label_summary import (
    merge_summaries,
    read_label_rules,
    with_summary,
)
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.files.nifti import open_nifti


class CTRateFolder(CTSource):
    """A folder in the layout of ibrahimhamamci/CT-RATE."""

    FIELDS = frozenset({"folder", "volumes_dir"})
    TEXT_FIELDS = frozenset({"labels"})
    has_headers = True
    states_orientation = True
    is_compressed = True

    def check(self) -> None:
        """Check the folder, and the pattern of volumes inside it."""
        require_fields(self.spec, folder="source folder needs the path of the source tree")
        self._check_volumes_dir()

    def _check_volumes_dir(self) -> None:
        check_table_labels(self.spec)
        pattern = volumes_pattern(self.spec)
        if "{split}" not in pattern:
            what = f"expected a path with '{{split}}' in it, got {self.spec.volumes_dir!r}"
            raise SpecError(field="volumes_dir", what=what)
        check_inside("volumes_dir", pattern)

    def first_table(self) -> str:
        """Return the path of a table that every refresh reads."""
        return table_paths(self.spec.splits[0]).metadata

    def read_rows(
        self, files: Source, *, revision: str | None, previous: pa.Table | None = None
    ) -> pa.Table:
        """Return one row per line of the splits' metadata tables; see `volumes.catalog.ct_rate`."""
        tables = {
            split: read_rows(files, self.spec, split, revision, with_texts=self.with_texts)
            for split in self.spec.splits
        }
        table = pa.concat_tables(tables.values(), promote_options="default")
        if not self.with_texts:
            return drop_texts(table).replace_schema_metadata(None)
        summary = merge_summaries(tables, read_label_rules(self.spec))
        return with_summary(table, summary)

    def check_rows(self, rows: pa.Table, *, own: Path) -> None:
        """Ask for the HU rule where the tables state a scaling and the declaration no rule."""
        check_table_rule(self.spec, rows)

    def open_volume(self, item: SourceItem, path: Path) -> AbstractContextManager[VolumeStream]:
        """Open a NIfTI file."""
        return open_nifti(path)


class CTRateHub(CTRateFolder):
    """A dataset repository on the Hugging Face Hub in the layout of ibrahimhamamci/CT-RATE."""

    FIELDS = frozenset(
        {
            *("repo_id", "revision", "endpoint", "use_token", "volumes_dir"),
            *("keep_raw", "staging_budget_gb"),
        }
    )
    is_local: ClassVar[bool] = False
    is_only_copy: ClassVar[bool] = False

    def check(self) -> None:
        """Check the name of the repository, and the pattern of volumes inside it."""
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.spec.repo_id):
            what = f"expected '<org>/<name>' for source huggingface, got {self.spec.repo_id!r}"
            raise SpecError(field="repo_id", what=what)
        self._check_volumes_dir()

    def open_files(self) -> HubSource:
        """Return the repository at the declared revision."""
        spec = self.spec
        token = None if spec.use_token else False
        return HubSource(
            spec.repo_id, revision=spec.revision, endpoint=spec.endpoint or None, token=token
        )

    def has_file(self, path: str) -> bool:
        """Return True: a commit keeps its files."""
        return True
