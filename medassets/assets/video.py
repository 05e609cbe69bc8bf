"""The assets, checks, jobs and schedule of one dataset of video clips."""

from typing import Any

import dagster as dg

from medassets.assets.automation import build_automation
from medassets.assets.checks import build_checks, build_shards_check
from medassets.assets.factory import (
    build_catalog_asset,
    build_manifest_asset,
    build_shards_asset,
)
from medassets.assets.reconcile import build_reconcile_job
from medassets.assets.summary import build_summary
from medassets.datasets.kind import DatasetKind
from medassets.datasets.manifests.publication import list_keys
from medassets.datasets.registry import list_build_stages, open_kinds
from medassets.datasets.video import VideoClips, VideoFrames, clip_encoding
from medassets.specs import VideoClipDatasetSpec
from medassets.stages import VideoStage

_POOL = "gpu_decode"
_DECODER = "video_decoder"


def build_video_assets(spec: VideoClipDatasetSpec) -> dg.Definitions:
    """Return everything Dagster needs for one declared dataset of video clips.

    Touches no disk, network, GPU or environment. The resources (`workspace`, `video_decoder` and
    the IO managers) are those of `medassets.definitions.build_resources`; merge both into one
    `dg.Definitions`.

    Args:
        spec: The declaration.
    """
    # Refuses a declaration that cannot work.
    kinds = open_kinds(spec)
    frames, clips = VideoFrames(spec), VideoClips(spec)
    made_of = clips if spec.frames_from == "clips" else None
    assets = [
        build_catalog_asset(frames),
        _build_stage(frames, made_of=made_of),
        build_manifest_asset(frames, name=VideoStage.DATASET_INFO, document=list_keys),
    ]
    checks = build_checks(frames, manifest=VideoStage.DATASET_INFO)
    stages = list_build_stages(spec)
    jobs = {"build": stages, "process": [VideoStage.FRAMES]}
    if VideoStage.CLIPS in kinds:
        assets.append(_build_stage(clips, is_optional=VideoStage.CLIPS not in stages))
        checks.append(build_shards_check(clips))
        jobs["clip"] = [VideoStage.CLIPS]
    return dg.Definitions.merge(
        dg.Definitions(
            assets=assets,
            asset_checks=checks,
            jobs=[build_reconcile_job(list(kinds.values()))],
        ),
        build_automation(frames, jobs=jobs, manifest=VideoStage.DATASET_INFO),
        build_summary([frames, clips] if VideoStage.CLIPS in kinds else [frames]),
    )


def _build_stage(
    kind: VideoFrames | VideoClips, *, made_of: VideoClips | None = None, is_optional: bool = False
) -> dg.AssetsDefinition:
    return build_shards_asset(
        kind,
        upstream=made_of.stage if made_of is not None else None,
        made_of=made_of,
        equip=_give_decoder,
        resource_keys=[_DECODER],
        pool=_POOL,
        is_optional=is_optional,
    )


def _give_decoder(kind: DatasetKind, resources: Any) -> DatasetKind:
    """Let a kind decode with the run's own processes, which end with the run."""
    if not isinstance(kind, VideoFrames | VideoClips):
        msg = f"expected a kind that decodes video, got {type(kind).__name__}"
        raise TypeError(msg)
    pool = getattr(resources, _DECODER).pool
    # What is not there at all stops the run here, not each of its shards in turn.
    if isinstance(kind, VideoFrames):
        pool.check_device()
    elif kind.spec.clip_encoder != "libx264" and kind.spec.clips != "copy":
        pool.check_encoder(clip_encoding(kind.spec))
    return kind.with_decoder(pool)
