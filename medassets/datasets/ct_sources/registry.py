"""Names of the kinds of CT sources: each is chosen by `source`, and where a source has several by `layout`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from medassets.datasets.ct_sources.base import CTSource
from medassets.datasets.ct_sources.ct_rate import CTRateFolder, CTRateHub
from medassets.datasets.ct_sources.dicom import DicomTree
from medassets.datasets.ct_sources.existing_masks import ExistingMasks
from medassets.datasets.ct_sources.npz import NpzTree
from medassets.datasets.ct_sources.tree import TreeFolder, TreeHub
from medassets.datasets.ct_sources.webdataset import WebDatasetTars
from medassets.specs import CTSourceSpec, FieldRule
from medassets.specs.checks import check_choice

ONE_LAYOUT = ""
"""Name of the layout of a source that has only one."""

CT_SOURCES: dict[str, Mapping[str, type[CTSource]]] = {
    "huggingface": {"ct_rate": CTRateHub, "tree": TreeHub},
    "folder": {"ct_rate": CTRateFolder, "tree": TreeFolder},
    "dicom": {ONE_LAYOUT: DicomTree},
    "npz": {ONE_LAYOUT: NpzTree},
    "webdataset": {ONE_LAYOUT: WebDatasetTars},
    "processed": {ONE_LAYOUT: ExistingMasks},
}
"""Value of `source` in a declaration -> value of `layout` -> the kind of source."""


@dataclass(frozen=True)
class DeclaredKind:
    """A kind of source, and how a declaration names it."""

    source: str
    layout: str
    kind: type[CTSource]


def list_kinds(*, masks: bool = True) -> list[DeclaredKind]:
    """Return the kinds of sources.

    Args:
        masks: Include those that hold masks and no volumes.
    """
    return [
        DeclaredKind(source, layout, kind)
        for source, layouts in CT_SOURCES.items()
        for layout, kind in layouts.items()
        if masks or not kind.stores_masks
    ]


def open_volume_source(spec: CTSourceSpec) -> CTSource:
    """Return the source of a dataset of volumes with reports and labels; opens no file.

    Raises:
        SpecError: If no such source has volumes.
    """
    return _open(spec, list_kinds(masks=False), with_texts=True)


def open_window_source(spec: CTSourceSpec) -> CTSource:
    """Return the source of a dataset of windows; opens no file.

    Raises:
        SpecError: If there is no such source.
    """
    return _open(spec, list_kinds(), with_texts=False)


def list_source_rules(kinds: Sequence[DeclaredKind], *, with_texts: bool) -> list[FieldRule]:
    """Return with which source and layout each field of a source has an effect.

    Args:
        kinds: The kinds that can be declared.
        with_texts: Whether samples need a report and labels.
    """
    used: dict[str, list[DeclaredKind]] = {}
    for one in kinds:
        for field in one.kind.FIELDS | (one.kind.TEXT_FIELDS if with_texts else frozenset()):
            used.setdefault(field, []).append(one)
    return [
        rule
        for field, having in used.items()
        for rule in list_rules({field}, kinds, lambda one, having=having: one in having)
    ]


def list_rules(
    fields: Iterable[str],
    kinds: Sequence[DeclaredKind],
    has: Callable[[DeclaredKind], bool],
    **when: Sequence[str],
) -> list[FieldRule]:
    """Return the rules of fields that have an effect with some kinds of sources.

    Args:
        fields: Names of the fields.
        kinds: The kinds that can be declared.
        has: Whether the fields have an effect with a kind.
        when: Further conditions, name of a field -> its values.
    """
    layouts, having = _by_source(kinds), _by_source(filter(has, kinds))
    whole = [source for source, names in having.items() if names.keys() == layouts[source].keys()]
    parts: dict[str, list[str]] = {}
    for source, names in having.items():
        for layout in names if source not in whole else ():
            parts.setdefault(layout, []).append(source)
    conditions = [{"source": whole}] if whole else []
    conditions += [{"source": names, "layout": [layout]} for layout, names in parts.items()]
    return [FieldRule(frozenset(fields), {**one, **when}) for one in conditions]


def list_layout_rules(kinds: Sequence[DeclaredKind]) -> list[FieldRule]:
    """Return with which sources `layout` has an effect: those that have several."""
    return list_rules({"layout"}, kinds, lambda one: one.layout != ONE_LAYOUT)


def _by_source(kinds: Iterable[DeclaredKind]) -> dict[str, dict[str, type[CTSource]]]:
    found: dict[str, dict[str, type[CTSource]]] = {}
    for one in kinds:
        found.setdefault(one.source, {})[one.layout] = one.kind
    return found


def _open(spec: CTSourceSpec, known: Sequence[DeclaredKind], *, with_texts: bool) -> CTSource:
    layouts = _by_source(known)
    check_choice("source", spec.source, tuple(layouts))
    having = layouts[spec.source]
    # With a source of one layout the field has no effect; the rules of fields say so.
    layout = ONE_LAYOUT if ONE_LAYOUT in having else spec.layout
    check_choice("layout", layout, tuple(having))
    return having[layout](spec, with_texts=with_texts)
