"""Sources in the layout of CT-RATE: NIfTI volumes and tables, on a hub or in a folder."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa

from medassets.datasets.ct_sources.base import (
    CTSource,
    check_inside,
    check_table_labels,
    require_fields,
)
from medassets.datasets.ct_sources.hub import HUB_FIELDS, HubRepository
from medassets.datasets.ct_sources.table_files import read_table_files
from medassets.datasets.hu_rules import check_table_rule
from medassets.errors import CatalogError, SpecError
from medassets.samples import SourceItem
from medassets.sources.base import Source
from medassets.storage.formats.label_rules import LabelRules
from medassets.volumes.catalog.columns import LABEL_NAMES_KEY, drop_texts
from medassets.volumes.catalog.ct_rate import (
    list_needed,
    list_optional,
    list_tables,
    read_rows,
)
from medassets.volumes.catalog.ct_rate_names import table_paths, volumes_pattern
from medassets.volumes.catalog.label_summary import (
    merge_summaries,
    read_label_rules,
    with_summary,
)
from medassets.volumes.catalog.table_check import list_missing
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.files.nifti import open_nifti


class CTRateFolder(CTSource):
    """A folder in the layout of ibrahimhamamci/CT-RATE."""

    FIELDS = frozenset({"folder", "volumes_dir"})
    TEXT_FIELDS = frozenset({"labels", "requires"})
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
        spec, rules = self.spec, read_label_rules(self.spec)
        wanted = list_tables(spec.splits, with_texts=self.with_texts)
        found = read_table_files(files, wanted, revision)
        self._check_complete(found.contents, rules, is_first=previous is None)
        absent = list_optional(spec.splits, found.contents)
        tables: dict[str, pa.Table] = {}
        names: list[str] = []
        # A split without a table of labels has those of the others, all unknown.
        for split in sorted(spec.splits, key=lambda s: table_paths(s).labels in absent):
            tables[split] = read_rows(
                found,
                spec,
                split,
                revision,
                with_texts=self.with_texts,
                requires=self.requires,
                absent=absent,
                label_names=names,
            )
            names = names or json.loads(tables[split].schema.metadata[LABEL_NAMES_KEY])
        tables = {split: tables[split] for split in spec.splits}
        table = pa.concat_tables(tables.values(), promote_options="default")
        if not self.with_texts:
            return drop_texts(table).replace_schema_metadata(None)
        return with_summary(table, merge_summaries(tables, rules))

    def _check_complete(
        self, found: Mapping[str, bytes], rules: LabelRules, *, is_first: bool
    ) -> None:
        """Name everything that the layout lacks; after the first plan, files may have been deleted.

        Raises:
            CatalogError: If a table, a column or a folder of volumes is missing.
        """
        requires = self.requires if self.with_texts else ()
        missing = list_missing(list_needed(self.spec.splits, rules, requires=requires), found)
        if self.is_local and is_first:
            pattern = volumes_pattern(self.spec)
            folders = [self.spec.of_split(pattern, split) for split in self.spec.splits]
            missing += [
                f"{path}/, the folder of volumes"
                for path in folders
                if not (self.folder / path).is_dir()
            ]
        if missing:
            place = str(self.folder) if self.is_local else self.open_files().uri
            raise CatalogError(_explain_missing(place, missing))

    def check_rows(self, rows: pa.Table, *, own: Path) -> None:
        """Ask for the HU rule where the tables state a scaling and the declaration no rule."""
        check_table_rule(self.spec, rows)

    def open_volume(self, item: SourceItem, path: Path) -> AbstractContextManager[VolumeStream]:
        """Open a NIfTI file."""
        return open_nifti(path)


def _explain_missing(place: str, missing: Sequence[str]) -> str:
    lines = "".join(f"\n  {line}" for line in missing)
    return (
        f"{place}: `layout: ct_rate` needs, and does not find:{lines}\n`layout: tree` takes any folders "
        f"of .nii and .nii.gz files, with one table of any columns or none; `requires: []` takes this "
        f"layout without reports and labels"
    )


class CTRateHub(HubRepository, CTRateFolder):
    """A dataset repository on the Hugging Face Hub in the layout of ibrahimhamamci/CT-RATE."""

    FIELDS = HUB_FIELDS | {"volumes_dir"}

    def check(self) -> None:
        """Check the name of the repository, and the pattern of volumes inside it."""
        self.check_repository()
        self._check_volumes_dir()
