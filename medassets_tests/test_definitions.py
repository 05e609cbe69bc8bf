"""The code location: what Dagster's own commands make of it, from source and from a wheel."""

import email
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from medassets.testing.ct_rate import SyntheticRepository
from medassets.testing.hub import LocalHub
from medassets_tests.location import Shell, metadata_of

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

# Builds the definitions and notes what Python does meanwhile.
WATCHED = """
import json, os, sys
import dagster as dg
import medassets.definitions as d
d.defs()  # what is imported on first use is no matter of the definitions
seen = {"written": [], "network": [], "processes": [], "variables": []}
def watch(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        seen["written"].append(str(arguments[0]))
    elif event in ("os.mkdir", "os.rename", "os.remove"):
        seen["written"].append(str(arguments[0]))
    elif event.startswith("socket.") and event != "socket.__new__":
        seen["network"].append(event)
    elif event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
        seen["processes"].append(str(arguments[0]))
sys.addaudithook(watch)
get = os._Environ.__getitem__
def note(self, name):
    seen["variables"].append(name)
    return get(self, name)
os._Environ.__getitem__ = note
d.defs().get_repository_def()
os._Environ.__getitem__ = get
print(json.dumps(seen))
"""

LISTED = """
import json
from medassets.definitions import defs
import medassets
keys = defs().resolve_all_asset_keys()
print(json.dumps([medassets.__file__, sorted(key.to_user_string() for key in keys)]))
"""

SHIPPED = {
    "clip4mc": ("catalog", "clips", "dataset_info", "frames", "summary"),
    "ct_rate": ("catalog", "manifest", "raw_volumes", "shards", "summary"),
    "demo_ct": ("catalog", "manifest", "raw_volumes", "shards", "summary"),
    "demo_video": ("catalog", "clips", "dataset_info", "frames", "summary"),
    "demo_windows": ("catalog", "manifest", "raw_volumes", "summary", "windows"),
}


def run_here(shell: Shell, *command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env=shell.environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_a_dataset_is_added_with_yaml_alone_and_built_with_dagsters_own_command(
    shell: Shell, repository: SyntheticRepository, tiny: dict[str, object]
) -> None:
    file = shell.declare("mine", source="folder", folder=str(repository.folder), **tiny)
    assert len(file.read_text().splitlines()) <= 25

    done = shell.materialize("--select", "mine/catalog")
    assert done.returncode == 0, done.stderr
    done = shell.materialize("--select", "mine/shards", "--partition", "valid-000000")
    assert done.returncode == 0, done.stderr

    with shell.instance() as instance:
        mine = shell.location("mine", instance)
        assert mine.instance.get_materialized_partitions(mine.key("shards")) == {"valid-000000"}
        told = metadata_of(mine.events("shards", "valid-000000")[-1])
        assert told["dagster/row_count"] == 3
    assert Path(told["dagster/uri"]) == shell.home / "data/mine/valid/shard-000000.tar"
    assert Path(told["dagster/uri"]).stat().st_size == told["medassets/bytes"]


@pytest.mark.slow
def test_a_partition_range_is_built_with_dagsters_own_command(
    shell: Shell, repository: SyntheticRepository, tiny: dict[str, object]
) -> None:
    shell.declare("mine", source="folder", folder=str(repository.folder), runs="single", **tiny)
    with shell.instance() as instance:
        mine = shell.location("mine", instance)
        mine.materialize("catalog")
        span = "train-000001...valid-000000"
        done = shell.materialize("--select", "mine/shards", "--partition-range", span)
        assert done.returncode == 0, done.stderr
        expected = {"train-000001", "train-000002", "valid-000000"}
        assert mine.instance.get_materialized_partitions(mine.key("shards")) == expected


@pytest.mark.slow
def test_a_broken_declaration_is_told_and_leaves_the_others(
    shell: Shell, repository: SyntheticRepository, tiny: dict[str, object]
) -> None:
    shell.declare("mine", source="folder", folder=str(repository.folder), **tiny)
    broken = shell.declare("broken", source="folder", folder="/nowhere", shard_sise=3)
    done = run_here(shell, sys.executable, "-c", LISTED)
    assert f"medassets: {broken}:6: shard_sise: no such field" in done.stderr
    _, keys = json.loads(done.stdout)
    assert {key.partition("/")[0] for key in keys} == {*SHIPPED, "mine"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("dagster", "definitions", "validate", "-w", "workspace.yaml"),
        ("dg", "check", "defs"),
        ("dg", "check", "yaml"),
    ],
    ids=" ".join,
)
def test_dagsters_own_checks_pass(shell: Shell, command: tuple[str, ...]) -> None:
    program, *arguments = command
    run_here(shell, str(BIN / program), *arguments)


def test_building_the_definitions_touches_nothing(shell: Shell) -> None:
    done = run_here(shell, sys.executable, "-c", WATCHED)
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["network"] == seen["processes"] == seen["written"] == []
    ours = {name for name in seen["variables"] if name.startswith(("MEDASSETS", "HF_", "CUDA"))}
    # What the shipped declarations name in their templates, and nothing else.
    assert ours == {"MEDASSETS_DEFS", "MEDASSETS_DEMO_HUB", "MEDASSETS_HOME"}
    assert not (shell.home / "data").exists()


def _require_metadata(unpacked: Path) -> None:
    """Check what an index shows of a wheel."""
    (folder,) = unpacked.glob("medassets-*.dist-info")
    facts = email.message_from_string((folder / "METADATA").read_text(encoding="utf-8"))
    assert facts["License-Expression"] == "Apache-2.0"
    assert facts["Requires-Python"] == ">=3.11"
    assert (folder / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    classifiers = facts.get_all("Classifier", [])
    assert "Programming Language :: Python :: 3.11" in classifiers
    assert not [one for one in classifiers if one.startswith("License")]
    assert all("https://" in url for url in facts.get_all("Project-URL", ["none"]))
    assert facts["Description-Content-Type"] == "text/markdown"
    assert facts.get_payload() == (ROOT / "PACKAGE_PAGE.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_unpacked_wheel_loads_its_definitions(shell: Shell, tmp_path: Path) -> None:
    source, unpacked = tmp_path / "source", tmp_path / "unpacked"
    wanted = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
    shutil.copytree(ROOT / "medassets", source / "medassets", ignore=wanted)
    for name in ("pyproject.toml", "setup.cfg", "PACKAGE_PAGE.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path))
    run_here(shell, *build, str(source))
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    _require_metadata(unpacked)

    shell.folder.joinpath("elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LISTED],
        env={**shell.environment, "MEDASSETS_DEFS": "", "PYTHONPATH": str(unpacked)},
        cwd=shell.folder / "elsewhere",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    origin, keys = json.loads(done.stdout)
    assert Path(origin).is_relative_to(unpacked)
    assert keys == [f"{dataset}/{stage}" for dataset, stages in SHIPPED.items() for stage in stages]


@pytest.mark.slow
def test_a_token_is_in_no_file_that_dagster_or_medassets_write(
    shell: Shell,
    repository: SyntheticRepository,
    tiny: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    token = "hf_" + "Zq7" * 12
    with LocalHub(repository.folder, "org/gated", token=token, gated=True) as hub:
        shell.declare("mine", repo_id="org/gated", endpoint=hub.endpoint, **tiny)
        with shell.instance() as instance:
            mine = shell.location("mine", instance)
            monkeypatch.setenv("HF_TOKEN", token + "x")
            refused = mine.materialize("catalog", check=False)
            monkeypatch.setenv("HF_TOKEN", token)
            mine.materialize("catalog")
            mine.materialize("raw_volumes", "shards", partition="train-000000")
            mine.materialize("manifest")
            hub.fail("unauthorized", times=100)
            broken = mine.materialize("shards", partition="train-000001", check=False)
    assert (refused.success, broken.success) == (False, False)
    files = [path for path in shell.folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert any(path.suffix == ".db" for path in files)
    secret = token.removeprefix("hf_").encode()
    assert [path for path in files if secret in path.read_bytes()] == []
    assert secret.decode() not in "".join(capfd.readouterr())


def test_the_location_has_one_name_everywhere() -> None:
    named = [(ROOT / "workspace.yaml").read_text(), (ROOT / "medassets/dg.toml").read_text()]
    assert "location_name: medassets\n" in named[0]
    assert 'code_location_name = "medassets"' in named[1]
    assert 'code_location_name = "medassets"' in (ROOT / "pyproject.toml").read_text()
    assert os.environ.get("MEDASSETS_DEFS") is None
