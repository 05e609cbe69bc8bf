"""Names of the kinds of CT sources."""

from collections.abc import Mapping

from medassets.datasets.ct_sources.base import CTSource
from medassets.datasets.ct_sources.ct_rate import CTRateFolder, CTRateHub
from medassets.datasets.ct_sources.existing_masks import ExistingMasks
from medassets.datasets.ct_sources.npz import NpzTree
from medassets.datasets.ct_sources.webdataset import WebDatasetTars
from medassets.specs import CTSourceSpec, FieldRule
from medassets.specs.checks import check_choice

CT_SOURCES: dict[str, type[CTSource]] = {
    "huggingface": CTRateHub,
    "folder": CTRateFolder,
    "npz": NpzTree,
    "webdataset": WebDatasetTars,
    "processed": ExistingMasks,
}
"""Value of `source` in a declaration -> the kind of source."""


def list_volume_sources() -> dict[str, type[CTSource]]:
    """Return the kinds of sources that have volumes, by name."""
    return {name: kind for name, kind in CT_SOURCES.items() if not kind.stores_masks}


def open_volume_source(spec: CTSourceSpec) -> CTSource:
    """Return the source of a dataset of volumes with reports and labels; opens no file.

    Raises:
        SpecError: If no such source has volumes.
    """
    return _open(spec, list_volume_sources(), with_texts=True)


def open_window_source(spec: CTSourceSpec) -> CTSource:
    """Return the source of a dataset of windows; opens no file.

    Raises:
        SpecError: If there is no such source.
    """
    return _open(spec, CT_SOURCES, with_texts=False)


def list_source_rules(
    sources: Mapping[str, type[CTSource]], *, with_texts: bool
) -> list[FieldRule]:
    """Return with which source each field of a source has an effect.

    Args:
        sources: Name of each source that can be declared -> its kind.
        with_texts: Whether samples need a report and labels.
    """
    used: dict[str, list[str]] = {}
    for name, kind in sources.items():
        for field in kind.FIELDS | (kind.TEXT_FIELDS if with_texts else frozenset()):
            used.setdefault(field, []).append(name)
    return [FieldRule(frozenset({field}), {"source": names}) for field, names in used.items()]


def _open(spec: CTSourceSpec, known: Mapping[str, type[CTSource]], *, with_texts: bool) -> CTSource:
    check_choice("source", spec.source, tuple(known))
    return known[spec.source](spec, with_texts=with_texts)
