"""What every kind of dataset is known by: fingerprints that an update of this package leaves alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from medassets.datasets.kind import DatasetKind
from medassets.datasets.video import VideoClips, VideoFrames
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.windows import CTWindows
from medassets.shards.made_from import compare_facts, facts_fingerprint, meaning_of
from medassets.specs import CTWindowDatasetSpec, VideoClipDatasetSpec, VolumeDatasetSpec

FOLDER: dict[str, Any] = {"name": "a", "source": "folder", "folder": "/x"}
VIDEOS = VideoClipDatasetSpec(name="v", videos_dir="/v", metadata="/m.json")
KINDS: Mapping[str, DatasetKind] = {
    "6a9cf0b7f716b3a4ceea4702d43142ef67278b2da8597db3b0160700520bae62": VolumeDataset(
        VolumeDatasetSpec(**FOLDER)
    ),
    "5ca414a781ed994330f5b8e8e4262ab3040e46b21cb91779838b998d8289901b": VolumeDataset(
        VolumeDatasetSpec(**FOLDER, preprocessing="none", hu_rule="none")
    ),
    "b9919e75a69ea81384dbf5c2d73b7c2f73fc0b8e2442c1ac20715de5cb0f05fb": VolumeDataset(
        VolumeDatasetSpec(**FOLDER, expected_air_share=(0.1, 0.9))
    ),
    "f483fbef3a00f6a8e31ac61e929dc6bbd0a174e584ff07098cbbb1a815d61d51": CTWindows(
        CTWindowDatasetSpec(**FOLDER)
    ),
    "c4963b21b537d6e2aeab78260149f0e0d473ceaeb4f9a3e66b0dbd332ce7297e": VideoFrames(VIDEOS),
    "e5d26d25fa3db7d363de8bb7d59f698b9af342ce7fda4ac3d9c9e2b8ae746226": VideoClips(VIDEOS),
    "5fe3b66776c4ad7ca538320c18d8fbd8e53223484c699ce7f629c0045d2f716a": VideoFrames(
        replace(VIDEOS, clips="reencode", frames_from="clips")
    ),
}


@pytest.mark.parametrize(("pinned", "kind"), KINDS.items())
def test_an_update_of_the_package_moves_no_fingerprint(pinned: str, kind: DatasetKind) -> None:
    """A new field needs `ADDED_LATER`; a change of bytes needs a new version, and a new pin."""
    assert kind.fingerprint() == pinned
    assert facts_fingerprint(kind.facts()) == pinned


@pytest.mark.parametrize("kind", KINDS.values())
def test_limits_and_versions_leave_the_meaning_of_samples(kind: DatasetKind) -> None:
    facts = kind.facts()
    later = {**facts, "format_version": 7}
    assert meaning_of(later, kind.OLDEST_ALIKE) == meaning_of(facts, kind.OLDEST_ALIKE)
    (change,) = compare_facts(facts, later)
    assert change.describe() == "format_version was 1, is 7"


def test_frames_of_clips_name_what_changed_in_their_clips() -> None:
    spec = replace(VIDEOS, clips="reencode", frames_from="clips")
    was, now = VideoFrames(spec), VideoFrames(replace(spec, clip_crf=20))
    (change,) = compare_facts(was.facts(), now.facts())
    assert change.describe() == "clips.encoding.crf was 28, is 20"
    assert meaning_of(was.facts(), was.OLDEST_ALIKE) != meaning_of(now.facts(), now.OLDEST_ALIKE)


def test_an_older_codec_is_not_like_the_one_of_today() -> None:
    frames = VideoFrames(VIDEOS)
    older = {**frames.facts(), "frames_version": 2}
    rules = frames.OLDEST_ALIKE
    assert meaning_of(older, rules) != meaning_of(frames.facts(), rules)


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_raised_oldest_version_separates_older_samples_from_newer_ones(kind: DatasetKind) -> None:
    """Also from those whose record stored what they mean before it was raised."""
    facts, rules = kind.facts(), kind.OLDEST_ALIKE
    stored = meaning_of(facts, rules)
    # The first element of a path is enough here: nested versions are raised with their own kind.
    versions = [n for n, oldest in rules.items() if oldest is not None and "." not in n]
    for name in versions:
        oldest = rules[name] or 1
        raised = {**rules, name: oldest + 1}
        today = meaning_of({**facts, name: oldest + 1}, raised)
        assert today != stored
        assert today != meaning_of(facts, raised)
        assert today == meaning_of({**facts, name: oldest + 2}, raised)
        assert today != meaning_of({**facts, name: oldest + 2}, {**rules, name: oldest + 2})
