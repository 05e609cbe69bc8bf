"""Every kind of damage to the output is found, named, and repaired or refused, until it is mended."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from medassets.shards.catalog.files import read_catalog, write_catalog
from medassets.shards.catalog.plan import plan_of
from medassets.shards.catalog.planning import arrange_catalog
from medassets.shards.files import partial_paths, pending_record, previous_record
from medassets_tests.cli.damage import find_member, flip, read_samples
from medassets_tests.small_shards import pack_tar

Medassets = Callable[..., Any]
Harm = Callable[[Path], None]
TAR, OTHER, FREE = "train/shard-000001.tar", "train/shard-000000.tar", "train/shard-000009.tar"


def _record(tar: Path) -> Path:
    return tar.with_suffix(".json")


def _move(one: Path, other: Path) -> None:
    for path in (lambda tar: tar, _record):
        path(one).rename(path(other))


def _flip(suffix: str, distance: int = 0) -> Harm:
    def harm(folder: Path) -> None:
        sample = read_samples(folder / TAR)[0]
        flip(folder / TAR, find_member(sample, suffix).offset + distance)

    return harm


def _append(folder: Path) -> None:
    with (folder / TAR).open("ab") as file:
        file.write(b"more")


def _copy(folder: Path) -> None:
    for path in (lambda tar: tar, _record):
        shutil.copy(path(folder / TAR), path(folder / FREE))


def _be_foreign(folder: Path) -> None:
    _record(folder / TAR).unlink()
    pack_tar(folder / TAR, {"mine": {"txt": b"not of medassets"}})


def _swap(folder: Path) -> None:
    _move(folder / TAR, folder / "train/shard-000777.tar")
    _move(folder / OTHER, folder / TAR)
    _move(folder / "train/shard-000777.tar", folder / OTHER)


def _edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(file.read_bytes())
    change(document)
    file.write_text(json.dumps(document))


def _edit_text(folder: Path) -> None:
    record = _record(folder / TAR)
    record.write_text(record.read_text().replace('"source_bytes": ', '"source_bytes": 1', 1))


def _edit_count(folder: Path) -> None:
    _edit(_record(folder / TAR), lambda d: d.update(num_samples=d["num_samples"] + 1))


def _edit_manifest(folder: Path) -> None:
    _edit(folder / "train/manifest.json", lambda d: d.update(total_samples=99))


def _put_older_catalog(folder: Path) -> None:
    """Replace the catalog by one that knows a shard less, and another one with fewer samples."""
    table = read_catalog(folder / "catalog.parquet")
    plan = plan_of(table)
    counts = {"train-000000": plan.partitions["train-000000"] - 1}
    rows = table.slice(0, sum(counts.values())).drop_columns(["partition", "state"])
    older = arrange_catalog(rows, counts, size=plan.samples_per_shard)
    write_catalog(older, folder / "catalog.parquet")


def _link(folder: Path) -> None:
    away = (folder / TAR).rename(folder.parent / "away.tar")
    (folder / TAR).symlink_to(away)


def _unlink(folder: Path) -> None:
    (folder / TAR).unlink()
    shutil.move(folder.parent / "away.tar", folder / TAR)


def _put_folder(folder: Path) -> None:
    (folder / TAR).unlink()
    (folder / TAR).mkdir()


def _leave(find: Callable[[Path], tuple[Path, ...]]) -> Harm:
    def harm(folder: Path) -> None:
        for path in find(folder / TAR):
            shutil.copy(_record(folder / OTHER), path)

    return harm


def _remove(name: str) -> Harm:
    def mend(folder: Path) -> None:
        path = folder / name
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
            if path.suffix == ".tar":
                _record(path).unlink(missing_ok=True)

    return mend


@dataclass(frozen=True)
class Kind:
    """One kind of damage.

    Attributes:
        harm: Does it to the dataset's folder.
        named: What the messages name.
        mended_by: `reconcile`; `build`; `force`, the remedy of verify; or `hand`, refused till then.
        by_hand: What the user does.
        found_by: The command that finds it first.
    """

    harm: Harm
    named: str
    mended_by: Literal["reconcile", "build", "force", "hand"]
    by_hand: Harm | None = None
    found_by: Literal["verify", "reconcile"] = "verify"


KINDS = {
    "deleted": Kind(lambda folder: (folder / TAR).unlink(), TAR, "build"),
    "truncated": Kind(lambda folder: os.truncate(folder / TAR, 2000), TAR, "build"),
    "appended": Kind(_append, TAR, "build"),
    "flipped in bin": Kind(_flip("bin"), TAR, "force"),
    "flipped in json": Kind(_flip("json"), TAR, "force"),
    "flipped in header": Kind(_flip("bin", -500), TAR, "force"),
    "renamed": Kind(lambda folder: _move(folder / TAR, folder / FREE), FREE, "reconcile"),
    "extra": Kind(_copy, FREE, "hand", _remove(FREE)),
    "foreign": Kind(_be_foreign, TAR.replace("tar", "json"), "hand", _remove(TAR)),
    "swapped pair": Kind(_swap, OTHER.replace("tar", "json"), "reconcile"),
    "edited record": Kind(_edit_text, TAR.replace("tar", "json"), "force"),
    "edited count": Kind(_edit_count, TAR.replace("tar", "json"), "build"),
    "edited manifest": Kind(
        _edit_manifest, "train/manifest.json", "hand", _remove("train/manifest.json")
    ),
    "deleted catalog": Kind(
        lambda folder: (folder / "catalog.parquet").unlink(), "catalog.parquet", "reconcile"
    ),
    "older catalog": Kind(_put_older_catalog, "older catalog", "reconcile"),
    "link": Kind(_link, TAR, "hand", _unlink),
    "folder in place of a file": Kind(_put_folder, TAR, "hand", _remove(TAR)),
    "leftover of a build": Kind(
        _leave(partial_paths), ".shard-000001.tar.partial", "reconcile", found_by="reconcile"
    ),
    "leftover of a publication": Kind(
        _leave(lambda tar: (previous_record(tar), pending_record(tar))),
        ".shard-000001.previous",
        "reconcile",
        found_by="reconcile",
    ),
    "leftover of a writer": Kind(
        _leave(lambda tar: (tar.with_name(".manifest.json.0123456789abcdef.tmp"),)),
        ".manifest.json.0123456789abcdef.tmp",
        "reconcile",
        found_by="reconcile",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_damage_is_found_named_and_repaired_or_refused_until_it_is_mended(
    medassets: Medassets, built: Path, name: str
) -> None:
    kind = KINDS[name]
    before = {path: path.read_bytes() for path in built.glob("*/shard-*.*")}

    def run(*arguments: str) -> Any:
        ran = medassets(*arguments)
        assert "Traceback" not in ran.out + ran.err
        return ran

    kind.harm(built)
    found = {"verify": run("verify", "lungs"), "reconcile": run("reconcile", "lungs", "--dry-run")}
    first = found[kind.found_by]
    assert first.code == 1
    assert kind.named in first.err + first.out
    # Bytes within the right size, manifests and links are verify's to find.
    assert run("status", "lungs").code in (0, 1)

    settled = run("reconcile", "lungs").code == 0
    remedy, code = "", 0
    if kind.mended_by == "reconcile":
        assert settled
    else:
        remedy = run("verify", "lungs", "--json").document["remedy"]
        code = run("build", "lungs").code
    if kind.mended_by == "build":
        assert (settled, code) == (False, 0)
    if kind.mended_by == "force":
        assert run("verify", "lungs").code == 1
        assert run(*remedy.split()[1:]).code == 0
    if kind.by_hand is not None:
        assert run("verify", "lungs").code == 1
        kind.by_hand(built)
        assert run("build", "lungs").code == 0
    assert run("verify", "lungs").code == 0
    assert run("reconcile", "lungs", "--dry-run").code == 0
    assert {path: path.read_bytes() for path in built.glob("*/shard-*.*")} == before


def _without_override(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as root that obeys modes and owners, as other users do."""
    lost = "-dac_override,-dac_read_search,-fowner"
    setpriv = ["setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}"]
    code = "from medassets.cli.main import main; main()"
    command = [*(setpriv if not os.geteuid() else []), sys.executable, "-c", code, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert "Traceback" not in ran.stdout + ran.stderr
    return ran


@pytest.fixture
def obeying() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command in a process that obeys modes and owners."""
    if not os.geteuid() and shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is missing: root ignores modes")
    return _without_override


def test_a_read_only_tree_is_read_and_writing_it_is_refused_with_its_name(
    obeying: Callable[..., subprocess.CompletedProcess[str]], built: Path
) -> None:
    (built / TAR).unlink()
    paths = [built, *(path for path in built.rglob("*") if path.is_dir())]
    for path in paths:
        path.chmod(0o555)
    try:
        assert obeying("verify", "lungs").returncode == 1
        assert obeying("status", "lungs").returncode == 1
        for command in ("build", "reconcile"):
            ran = obeying(command, "lungs")
            assert ran.returncode == 1
            assert str(built) in ran.stderr
    finally:
        for path in paths:
            path.chmod(0o755)
    assert obeying("build", "lungs").returncode == 0
    assert obeying("verify", "lungs").returncode == 0


def test_files_of_another_owner_are_named(
    obeying: Callable[..., subprocess.CompletedProcess[str]], built: Path
) -> None:
    for path in (built / TAR, _record(built / TAR)):
        path.chmod(0)
    ran = obeying("verify", "lungs")
    assert ran.returncode == 1
    assert f"{_record(built / TAR)}: the record cannot be read (Permission denied)" in ran.stderr
    assert obeying("status", "lungs").returncode == 1
    assert obeying("reconcile", "lungs").returncode == 1
    ran = obeying("build", "lungs")
    assert ran.returncode == 1
    assert "Permission denied" in ran.stderr or "cannot be read" in ran.stderr
    for path in (built / TAR, _record(built / TAR)):
        path.chmod(0o644)
    assert obeying("build", "lungs").returncode == 0
    assert obeying("verify", "lungs").returncode == 0
