"""The component is the spec; the shipped video declarations load, and mistakes are named."""

from dataclasses import fields
from pathlib import Path

import pytest

from medassets import components
from medassets.components.loading import load_datasets
from medassets.components.video_clip_dataset import VideoClipDatasetComponent
from medassets.definitions import build_definitions
from medassets.specs import VideoClipDatasetSpec

SHIPPED = Path(components.__file__).parents[1] / "defs"
PATHS = {"name": "films", "videos_dir": "/films", "metadata": "/films.json"}


def test_the_component_has_the_fields_of_the_spec_and_no_other() -> None:
    ours = {field.name: field.default for field in fields(VideoClipDatasetComponent)}
    assert ours == {field.name: field.default for field in fields(VideoClipDatasetSpec)}


@pytest.mark.parametrize(
    ("dataset", "stages"),
    [
        ("clip4mc", {"catalog", "clips", "frames", "dataset_info", "summary"}),
        ("demo_video", {"catalog", "clips", "frames", "dataset_info", "summary"}),
    ],
)
def test_a_shipped_declaration_loads_by_itself(dataset: str, stages: set[str]) -> None:
    loaded = load_datasets([SHIPPED / dataset])
    assert loaded.problems == ()
    assert list(loaded.datasets) == [dataset]
    definitions = build_definitions(loaded)
    assert {key.path[1] for key in definitions.resolve_all_asset_keys()} == stages


def test_yaml_takes_a_number_of_frames_or_all(tmp_path: Path) -> None:
    for word, expected in (("all", "all"), ("32", 32)):
        folder = tmp_path / word
        (folder / "films").mkdir(parents=True)
        lines = [f"  {name}: {value}" for name, value in PATHS.items()]
        (folder / "films" / "defs.yaml").write_text(
            "type: medassets.components.VideoClipDatasetComponent\nattributes:\n"
            + "\n".join([*lines, f"  num_frames: {word}"])
        )
        loaded = load_datasets([folder])
        assert loaded.problems == ()
        spec = loaded.datasets["films"].spec
        assert isinstance(spec, VideoClipDatasetSpec)
        assert spec.num_frames == expected
