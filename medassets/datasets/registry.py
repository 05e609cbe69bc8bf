"""From a declaration to the kind of dataset it declares."""

from collections.abc import Callable, Iterable

from medassets.datasets.kind import DatasetKind
from medassets.datasets.video import VideoClips, VideoFrames, list_video_rules
from medassets.datasets.volumes import VolumeDataset, list_volume_rules
from medassets.datasets.windows import CTWindows, list_window_rules
from medassets.errors import SpecError, UsageError
from medassets.specs import (
    CTWindowDatasetSpec,
    DatasetSpec,
    FieldRule,
    VideoClipDatasetSpec,
    VolumeDatasetSpec,
)
from medassets.specs.field_rules import describe_use, list_changed, list_unmet
from medassets.stages import VideoStage, VolumeStage

_FIELD_RULES: dict[type[DatasetSpec], Callable[[], list[FieldRule]]] = {
    VolumeDatasetSpec: list_volume_rules,
    CTWindowDatasetSpec: list_window_rules,
    VideoClipDatasetSpec: list_video_rules,
}
KINDS: tuple[type[DatasetKind], ...] = (VolumeDataset, CTWindows, VideoFrames, VideoClips)
"""Every kind of dataset, one class per stage of shards."""


def check_option(kind: DatasetKind, option: str) -> None:
    """Check that an option of the command means something for a kind of dataset.

    Raises:
        UsageError: If it does not; names the kinds that have it.
    """
    having = titles_with(option)
    if having and kind.TITLE not in having:
        what = (
            f"{kind.spec.name} is a dataset of {kind.TITLE}; only datasets of "
            f"{' and '.join(having)} have this option"
        )
        raise UsageError(field=option, what=what)


def titles_with(option: str) -> list[str]:
    """Return the titles of the kinds that have an option; empty if all do."""
    return list(dict.fromkeys(kind.TITLE for kind in KINDS if option in kind.OPTIONS))


def open_kinds(spec: DatasetSpec) -> dict[str, DatasetKind]:
    """Return the checked stages of a declaration, by name; the one to train on is first.

    Raises:
        SpecError: If no kind takes this sort of declaration, or a field of it is wrong.
    """
    kinds = _make_kinds(spec)
    for kind in kinds.values():
        kind.check()
    for field, what in explain_unused_fields(spec, list_changed(spec)).items():
        raise SpecError(field=field, what=what)
    return kinds


def list_field_rules(spec: type[DatasetSpec]) -> list[FieldRule]:
    """Return which fields of a sort of declarations have an effect, and where."""
    return next((rules() for kind, rules in _FIELD_RULES.items() if issubclass(spec, kind)), [])


def explain_unused_fields(spec: DatasetSpec, names: Iterable[str]) -> dict[str, str]:
    """Return which of some declared fields have no effect, each with where it belongs.

    Args:
        spec: The declaration.
        names: Names of the fields.
    """
    rules = list_field_rules(type(spec))
    unmet = {name: list_unmet(name, spec, rules) for name in names}
    return {name: _explain(name, found, rules) for name, found in unmet.items() if found != []}


def _explain(name: str, unmet: list[str] | None, rules: list[FieldRule]) -> str:
    if unmet:
        return f"has no effect with {', '.join(unmet)}; it belongs to {describe_use(name, rules)}"
    uses = {kind: describe_use(name, make()) for kind, make in _FIELD_RULES.items()}
    others = [
        kind.__name__.replace("Spec", "Component") + (f" with {use}" if use else "")
        for kind, use in uses.items()
        if use is not None
    ]
    return f"has no effect on this kind of dataset; it belongs to {', or to '.join(others)}"


def _make_kinds(spec: DatasetSpec) -> dict[str, DatasetKind]:
    if isinstance(spec, VolumeDatasetSpec):
        return {VolumeStage.SHARDS: VolumeDataset(spec)}
    if isinstance(spec, CTWindowDatasetSpec):
        return {VolumeStage.WINDOWS: CTWindows(spec)}
    if isinstance(spec, VideoClipDatasetSpec):
        frames = VideoFrames(spec)
        clips = {VideoStage.CLIPS: VideoClips(spec)} if frames.video_source.can_cut_clips else {}
        return {VideoStage.FRAMES: frames, **clips}
    what = f"{spec.name!r} is declared as {type(spec).__name__}, which no kind of dataset takes"
    raise SpecError(field="name", what=what)


def list_build_stages(spec: DatasetSpec) -> list[str]:
    """Return the stages of shards that a whole build makes, in order.

    Raises:
        SpecError: If no kind takes this sort of declaration.
    """
    if isinstance(spec, VideoClipDatasetSpec):
        return [VideoStage.CLIPS, VideoStage.FRAMES] if spec.keeps_clips else [VideoStage.FRAMES]
    return list(open_kinds(spec))


def open_kind(spec: DatasetSpec, stage: str = "") -> DatasetKind:
    """Return one stage of a declared dataset.

    Args:
        spec: The declaration.
        stage: Name of the stage; empty means the one to train on.

    Raises:
        SpecError: If no kind takes this sort of declaration.
        UsageError: If it has no such stage.
    """
    kinds = open_kinds(spec)
    if stage and stage not in kinds:
        what = f"{spec.name} has no stage {str(stage)!r}; it has {', '.join(kinds)}"
        raise UsageError(field="stage", what=what)
    return kinds[stage] if stage else next(iter(kinds.values()))
