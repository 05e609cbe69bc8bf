"""From a declaration to the kind of dataset it declares."""

from medassets.datasets.kind import DatasetKind
from medassets.datasets.video import VideoClips, VideoFrames
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.windows import CTWindows
from medassets.errors import SpecError, UsageError
from medassets.specs import (
    CTWindowDatasetSpec,
    DatasetSpec,
    VideoClipDatasetSpec,
    VolumeDatasetSpec,
)
from medassets.stages import VideoStage, VolumeStage


def open_kinds(spec: DatasetSpec) -> dict[str, DatasetKind]:
    """Return the checked stages of a declaration, by name; the one to train on is first.

    Raises:
        SpecError: If no kind takes this sort of declaration, or a field of it is wrong.
    """
    kinds = _make_kinds(spec)
    for kind in kinds.values():
        kind.check()
    return kinds


def _make_kinds(spec: DatasetSpec) -> dict[str, DatasetKind]:
    if isinstance(spec, VolumeDatasetSpec):
        return {VolumeStage.SHARDS: VolumeDataset(spec)}
    if isinstance(spec, CTWindowDatasetSpec):
        return {VolumeStage.WINDOWS: CTWindows(spec)}
    if isinstance(spec, VideoClipDatasetSpec):
        kinds: dict[str, DatasetKind] = {VideoStage.FRAMES: VideoFrames(spec)}
        return kinds | ({VideoStage.CLIPS: VideoClips(spec)} if spec.source == "videos" else {})
    what = f"{spec.name!r} is declared as {type(spec).__name__}, which no kind of dataset takes"
    raise SpecError(field="name", what=what)


def list_build_stages(spec: DatasetSpec) -> list[str]:
    """Return the stages of shards that a whole build makes, in order.

    Raises:
        SpecError: If no kind takes this sort of declaration.
    """
    if isinstance(spec, VideoClipDatasetSpec):
        return [VideoStage.FRAMES] if spec.clips == "off" else [VideoStage.CLIPS, VideoStage.FRAMES]
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
        what = f"{spec.name} has no stage {stage!r}; it has {', '.join(kinds)}"
        raise UsageError(field="stage", what=what)
    return kinds[stage] if stage else next(iter(kinds.values()))
