"""Every block of the training guide runs, on shards of a real build."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.manifests.publication import build_manifests
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.windows import CTWindows
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.shards.manifest import write_manifest
from medassets.specs import CTWindowDatasetSpec
from medassets.testing.ct_rate import SyntheticRepository

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[2] / "docs" / "training.md"
BLOCKS = dict(re.findall(r"```python\n# file: (\S+)\n(.*?)```", GUIDE.read_text(), re.DOTALL))
PRINTED = {
    "train.py": r"epoch 0: loss \d+\.\d+\nepoch 1: loss \d+\.\d+\n",
    "resume.py": r"\['train_[^,]*(, 'train_[^,]*){2}\]\n",
    "pipeline.py": r"(\['train_.*\] \[(True|False).*\] \([12], 1, 12, 24, 20\)\n)+10\n",
    "from_yaml.py": r"(torch\.Size\(\[[12], 1, 12, 24, 20\]\) torch\.float32\n){4}",
    "train_lightning.py": r"8 steps\n",
    "plain.py": r"7\n",
    "windows.py": r"\d+ \{.*\}\n",
}


def build_all(workspace: Workspace) -> None:
    """Make catalog and shards."""
    publish_catalog(workspace.paths, draft_catalog(workspace))
    for key in workspace.read_plan().partitions:
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))


@pytest.fixture
def project(workspace: Workspace, repository: SyntheticRepository, tmp_path: Path) -> Path:
    """A folder with `data/ct_rate`, seven volumes to train on and some to validate."""
    build_all(workspace)
    for split, manifest in build_manifests(workspace).items():
        write_manifest(workspace.paths, split, manifest)
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "ct_rate").symlink_to(workspace.paths.folder)
    windows = CTWindowDatasetSpec(
        name="my_windows",
        source="folder",
        folder=str(repository.folder),
        hu_rule="none",
        max_rejected_share=1.0,
        max_excluded_share=1.0,
    )
    build_all(masks := open_workspace(CTWindows(windows)))
    (folder / "data" / "my_windows").symlink_to(masks.paths.folder)
    for name, code in BLOCKS.items():
        (folder / name).write_text(code)
    return folder


def run(project: Path, *command: str) -> str:
    """Return what a command prints; its error is the test's."""
    done = subprocess.run(
        [sys.executable, *command], cwd=project, capture_output=True, text=True, timeout=120,
        check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_of_the_guide_has_its_test() -> None:
    assert set(BLOCKS) == {*PRINTED, "clips.py", "train_ddp.py"}
    assert GUIDE.read_text().count("```python") == len(BLOCKS)


@pytest.mark.parametrize("name", PRINTED)
def test_a_block_of_the_guide_runs(project: Path, name: str) -> None:
    assert re.search(PRINTED[name] + r"\Z", run(project, name))


def test_two_ranks_get_as_many_batches(project: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    out = run(project, *launcher, "train_ddp.py")
    # Two processes write to one pipe: their lines may run into each other.
    told = sorted(re.findall(r"rank \d of 2: \d+ batches", out))
    assert told == ["rank 0 of 2: 2 batches", "rank 1 of 2: 2 batches"]


def test_clips_of_the_demo_are_read(home: Path, tmp_path: Path) -> None:
    (tmp_path / "clips.py").write_text(BLOCKS["clips.py"])
    run(tmp_path, "-m", "medassets", "demo", "demo_video")
    (tmp_path / "data").symlink_to(home / "data")
    frames, tokens = "torch.Size([4, 16, 3, 160, 256])", "torch.Size([4, 77])"
    assert run(tmp_path, "clips.py") == f"{frames} {tokens}\n"


def test_the_first_example_is_twenty_lines() -> None:
    assert len(BLOCKS["train.py"].strip().splitlines()) <= 20
