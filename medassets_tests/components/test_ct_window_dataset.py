"""The component of windows is its spec; what is shipped and what docs/windows.md shows load."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from medassets import components
from medassets.components.ct_window_dataset import CTWindowDatasetComponent
from medassets.components.loading import load_datasets
from medassets.definitions import build_definitions
from medassets.specs import STANDARD_WINDOWS, CTWindowDatasetSpec

ROOT = Path(components.__file__).parents[2]


def test_the_component_has_the_fields_of_the_spec_and_no_other() -> None:
    ours = {field.name: field.default for field in fields(CTWindowDatasetComponent)}
    assert ours == {field.name: field.default for field in fields(CTWindowDatasetSpec)}


def test_the_demo_declares_windows_of_its_own() -> None:
    loaded = load_datasets([ROOT / "medassets" / "defs" / "demo_windows"])
    assert loaded.problems == ()
    spec = loaded.datasets["demo_windows"].spec
    assert isinstance(spec, CTWindowDatasetSpec)
    names = [window.name for window in spec.list_windows()]
    assert names == [*STANDARD_WINDOWS, "air"]
    stages = {key.path[1] for key in build_definitions(loaded).resolve_all_asset_keys()}
    assert stages == {"catalog", "raw_volumes", "windows", "manifest", "summary"}


def test_the_declaration_on_the_page_of_windows_loads(tmp_path: Path) -> None:
    page = ROOT / "docs" / "windows.md"
    if not page.exists():
        pytest.skip("an installed package has no docs beside it")
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "CTWindowDatasetComponent" in block)
    file = tmp_path / "my_windows" / "defs.yaml"
    file.parent.mkdir()
    file.write_text(block, encoding="utf-8")
    loaded = load_datasets([tmp_path])
    assert loaded.problems == ()
    stages = {key.path[1] for key in build_definitions(loaded).resolve_all_asset_keys()}
    assert stages == {"catalog", "windows", "manifest", "summary"}
