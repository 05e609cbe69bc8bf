"""Several datasets over the same sources: none loses what it has not made yet."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.windows import CTWindows
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import Reason, ReclaimError, SampleRejectedError, SpecError
from medassets.reclaim import claims as other_datasets
from medassets.reclaim import run as reclaim_run
from medassets.reclaim.claims import Declarations, Others
from medassets.reclaim.partition import reclaim_partition
from medassets.reclaim.report import ReclaimReport
from medassets.shards.files import read_whole_record
from medassets.shards.record import Rejected, content_fingerprint
from medassets.specs import CTWindowDatasetSpec, VideoClipDatasetSpec, VolumeDatasetSpec
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.volumes.catalog import webdataset_rows
from medassets_tests.reclaim.reclaiming import FIRST, KEYS, LAST, SECOND, Made, whys
from medassets_tests.reclaim.tars import Tars


def plan(workspace: Workspace, **options: Any) -> Workspace:
    """Refresh a catalog."""
    publish_catalog(workspace.paths, draft_catalog(workspace, **options))
    return workspace


def make(workspace: Workspace, *keys: str) -> None:
    """Make shards."""
    for key in keys:
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))


def keeps_all(made: Made, report: ReclaimReport, dataset: str = "other") -> bool:
    """Tell whether all that is left of the source is kept for another dataset."""
    claims = [line for line in report.troubles if f"the dataset {dataset} still needs it" in line]
    return not report.deleted and len(claims) == len(report.troubles) > 0 and len(made.left) == 7


@pytest.mark.parametrize("is_planned", [True, False])
def test_a_file_waits_for_another_dataset_that_has_not_made_its_sample(
    made: Made, *, is_planned: bool
) -> None:
    other = made.open(name="other")
    if is_planned:
        plan(other)
    report = made.reclaim(FIRST, others=[other])
    assert keeps_all(made, report)
    assert len(report.troubles) == 3
    assert set(whys(report).values()) == {
        "the dataset other still needs it: train-000000 is to be made of it by `medassets build "
        "other`. If other is no longer wanted, remove its declaration"
    }
    assert not made.reclaim(FIRST, confirmed=False, others=[other]).deletable
    make(plan(other), FIRST)
    assert len(made.reclaim(FIRST, others=[other]).deleted) == 3
    assert not made.reclaim(LAST, others=[other]).deleted
    assert len(made.reclaim(LAST).deleted) == 1


def test_a_dataset_with_other_shards_is_asked_file_by_file(made: Made) -> None:
    other = plan(made.open(name="other", samples_per_shard=2))
    make(other, FIRST)
    report = made.reclaim(FIRST, others=[other])
    assert sorted(Path(one.path).stem for one in report.deleted) == made.studies(FIRST)[:2]
    assert list(whys(report)) == made.studies(FIRST)[2:]


def test_what_a_limit_holds_back_is_still_needed(made: Made) -> None:
    other = plan(made.open(name="other"), limit=3)
    make(other, FIRST)
    assert len(made.reclaim(FIRST, others=[other]).deleted) == 3
    report = made.reclaim(SECOND, others=[other])
    assert not report.deleted
    assert all("train-000001 is to be made of it" in why for why in whys(report).values())


def test_a_sample_refused_for_its_content_does_not_keep_its_file(made: Made) -> None:
    other = plan(made.open(name="other", min_slices=1000))
    make(other, *KEYS)
    record = read_whole_record(other.paths, FIRST)
    assert record is not None
    assert {rejected.reason for rejected in record.rejected} == {Reason.TOO_FEW_SLICES}
    # Declared otherwise, the same file gives a sample.
    assert keeps_all(made, made.reclaim(FIRST, others=[made.open(name="other")]))
    assert len(made.reclaim(FIRST, others=[other]).deleted) == 3


@pytest.mark.parametrize("reason", [Reason.UNREADABLE_SOURCE, Reason.MISSING_UPSTREAM])
def test_a_sample_that_could_not_be_had_for_a_while_keeps_its_file(
    made: Made, reason: Reason
) -> None:
    other = plan(made.open(name="other"))
    make(other, FIRST)
    record = read_whole_record(other.paths, FIRST)
    assert record is not None
    one, *others = record.samples
    refused = (Rejected(one.key, reason, "the disk did not answer"),)
    replace(
        record,
        samples=tuple(others),
        num_samples=len(others),
        rejected=refused,
        fingerprint=content_fingerprint(record.sha256, refused),
    ).write(other.paths.record(FIRST))
    # To make that shard again takes all its files.
    assert keeps_all(made, report := made.reclaim(FIRST, others=[other]))
    assert f"train-000000 could not read {one.key} ({reason})" in whys(report)[one.key]
    # The remedy that it names.
    assert "`medassets build other --partitions train-000000 --force`" in whys(report)[one.key]
    build_shard(other, other.paths, plan_shard(other, FIRST, force=True))
    assert len(made.reclaim(FIRST, others=[other]).deleted) == 3


def test_a_damaged_file_keeps_no_neighbour(made: Made) -> None:
    study = made.studies(FIRST)[0]
    made.tree.place(study).write_bytes(b"PK, and nothing more")
    for path in (made.shard(FIRST), made.shard(FIRST).with_suffix(".json")):
        path.unlink()
    made.refresh()
    made.build(FIRST)
    other = plan(made.open(name="other"))
    make(other, FIRST)
    report = made.reclaim(FIRST, others=[other])
    assert list(whys(report)) == [study]
    assert whys(report)[study].startswith("a sample of it was rejected")
    assert len(report.deleted) == 2


def test_a_file_that_only_the_other_could_not_read_stays(made: Made) -> None:
    other = plan(made.open(name="other", array_key="elsewhere", ignored_members=("data",)))
    make(other, *KEYS)
    report = made.reclaim(FIRST, others=[other])
    assert keeps_all(made, report)
    assert "(bad_header)" in report.troubles[0]


@pytest.mark.parametrize("is_refreshed", [True, False])
def test_files_that_are_new_to_the_other_stay(
    made: Made, tmp_path: Path, *, is_refreshed: bool
) -> None:
    other = plan(made.open(name="other"))
    make(other, *KEYS)
    new = made.add_files(tmp_path)
    if is_refreshed:
        plan(other)
    workspace = made.refresh()
    made.build(*workspace.read_plan().partitions)
    report = made.reclaim(LAST, others=[other])
    # The short shard of the other is to be made again with them.
    assert sorted(whys(report)) == sorted(made.studies(LAST))
    assert set(new) < set(whys(report))
    assert not report.deleted


@pytest.mark.parametrize("change", ["source", "declaration"])
def test_an_outdated_shard_of_the_other_keeps_its_files(made: Made, change: str) -> None:
    other = plan(made.open(name="other"))
    make(other, *KEYS)
    if change == "source":
        study = made.studies(FIRST)[0]
        np.savez_compressed(made.tree.place(study), data=np.arange(5 * 7 * 11).reshape(5, 7, 11))
        made.refresh()
        made.build(FIRST)
        report = made.reclaim(FIRST, others=[other])
        assert "the dataset other still needs it" in whys(report)[study]
        assert made.tree.place(study).exists()
    else:
        assert keeps_all(
            made, made.reclaim(FIRST, others=[made.open(name="other", max_rounding_error=0.5)])
        )


def test_a_table_of_the_other_that_was_completed_since_counts(made: Made) -> None:
    own = made.tree.folder / "own.csv"
    with (made.tree.folder / made.tree.fields()["reports_file"]).open(newline="") as file:
        rows = list(csv.reader(file))
    study = made.studies(FIRST)[0]

    def write(lines: list[list[str]]) -> None:
        with own.open("w", newline="") as file:
            csv.writer(file).writerows(lines)

    write([row for row in rows if not row[0].startswith(study)])
    other = plan(made.open(name="other", reports_file="own.csv", samples_per_shard=1))
    make(other, *other.read_plan().partitions)
    assert other.read_plan().excluded_by_reason() == {"missing_report": 1}
    write(rows)
    report = made.reclaim(FIRST, others=[other])
    assert list(whys(report)) == [study]
    assert len(report.deleted) == 2


@pytest.mark.parametrize("above", [True, False])
def test_a_folder_that_lies_inside_the_other_is_the_same_source(made: Made, *, above: bool) -> None:
    tables = made.tree.fields()
    own, inner = Path(tables["folder"]), Path(tables["folder"]) / tables["volumes_dir"]
    absolute = {name: str(own / tables[name]) for name in tables if name.endswith("_file")}
    outer = {"folder": str(own.parent), "volumes_dir": f"{own.name}/npz", **absolute}
    within = {"folder": str(inner), "volumes_dir": "", **absolute}
    other = made.open(name="other", **(outer if above else within))
    assert keeps_all(made, made.reclaim(FIRST, others=[other]))


def _link_folder(made: Made) -> dict[str, str]:
    link = made.tree.folder.with_name("link")
    link.symlink_to(made.tree.folder)
    return {"folder": str(link)}


def _link_tree(made: Made) -> dict[str, str]:
    (made.tree.folder / "same").symlink_to("npz")
    return {"volumes_dir": "same"}


def _link_files(made: Made) -> dict[str, str]:
    for study, path in made.tree.paths.items():
        link = made.tree.folder / "subset" / f"{study}.npz"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(f"../{path}")
    return {"volumes_dir": "subset"}


@pytest.mark.parametrize("link", [_link_folder, _link_tree, _link_files])
def test_links_lead_to_the_same_files(made: Made, link: Callable[[Made], dict[str, str]]) -> None:
    other = made.open(name="other", **link(made))
    assert keeps_all(made, made.reclaim(FIRST, others=[other]))
    keys = list(plan(other).read_plan().partitions)
    make(other, *keys)
    assert len(made.reclaim(FIRST, others=[other]).deleted) == 3


def test_datasets_over_other_files_do_not_count(made: Made, tmp_path: Path) -> None:
    # Also where nobody could tell what they need.
    apart = made.open(name="apart", folder=str(tmp_path / "apart"))
    shutil.copytree(made.tree.folder / "npz", made.tree.folder / "copies")
    beside = made.open(name="beside", volumes_dir="copies")
    assert len(made.reclaim(FIRST, others=[apart, beside]).deleted) == 3


def test_a_dataset_whose_needs_cannot_be_told_stops_every_deletion(made: Made) -> None:
    other = made.open(name="other", reports_file="none.csv")
    with pytest.raises(ReclaimError, match="dataset other is declared over the same folder, and"):
        made.reclaim(FIRST, others=[other])
    assert len(made.left) == 7


def test_a_declaration_that_cannot_be_read_stops_every_deletion(made: Made) -> None:
    others = Others(problems=("/defs/b/defs.yaml:4: foldr: no such field",))
    with pytest.raises(ReclaimError, match=r"foldr: no such field\. A declaration that"):
        reclaim_partition(made.open(), FIRST, confirmed=True, others=others)
    assert len(made.left) == 7


def test_others_are_the_local_datasets_of_ct(made: Made, tmp_path: Path) -> None:
    tiny = made.open().kind.spec
    assert isinstance(tiny, VolumeDatasetSpec)
    hub = VolumeDatasetSpec(name="hub", source="huggingface", repo_id="some/data")
    clips = VideoClipDatasetSpec(
        name="clips", source="videos", videos_dir="/films", metadata="/a.json"
    )
    specs = (tiny, replace(tiny, name="more"), hub, clips)
    others = Declarations(specs, ("bad",)).open_others(
        "tiny", lambda kind: open_workspace(kind, data_root=str(tmp_path))
    )
    assert [other.kind.spec.name for other in others.workspaces] == ["more"]
    assert others.problems == ("bad",)
    with pytest.raises(SpecError, match="folder: there is no home folder for '~nobody-of"):
        replace(tiny, folder="~nobody-of-this-name/ct")


def test_the_other_is_read_once_for_all_shards(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    other, drafted = plan(made.open(name="other")), list[str]()

    def count(workspace: Workspace) -> Any:
        drafted.append(workspace.kind.spec.name)
        return draft_catalog(workspace)

    monkeypatch.setattr(other_datasets, "draft_catalog", count)
    for key in KEYS:
        made.reclaim(key, others=[other])
    assert drafted == ["other"]
    plan(made.open(name="other"), limit=None)
    make(other, FIRST)
    assert len(made.reclaim(FIRST, others=[other]).deleted) == 3


def test_a_shard_of_the_other_that_is_lost_meanwhile_is_noticed(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = plan(made.open(name="other"))
    make(other, *KEYS)
    prove = reclaim_run.prove_file

    def prove_while_a_shard_vanishes(*arguments: Any, **options: Any) -> Any:
        other.paths.shard(FIRST).unlink(missing_ok=True)
        return prove(*arguments, **options)

    monkeypatch.setattr(reclaim_run, "prove_file", prove_while_a_shard_vanishes)
    assert keeps_all(made, made.reclaim(FIRST, others=[other]))
    assert not made.journal(FIRST).exists()


def test_a_tar_waits_for_another_dataset_of_which_a_sample_is_in_it(tmp_path: Path) -> None:
    tars = Tars(tmp_path, 4)
    tars.write([3, 1])
    (key,) = tars.build()
    other = plan(tars.open(name="other", samples_per_shard=2))
    make(other, "train-000000")
    report = tars.reclaim(key, other)
    # The third sample of the first tar, and the only one of the second.
    assert not report.deleted
    assert len(report.troubles) == 2
    make(other, "train-000001")
    assert len(tars.reclaim(key, other).deleted) == 2


@pytest.mark.parametrize("shards", ["m/manifest.json", "current/shard-*.tar"])
def test_tars_are_the_same_by_a_manifest_and_by_a_link(tmp_path: Path, shards: str) -> None:
    tars = Tars(tmp_path, 4)
    tars.write([3, 1])
    (key,) = tars.build()
    source = tmp_path / "source"
    if shards.startswith("m"):
        (source / "m").mkdir()
        counts = {"../shard-000000.tar": 3, "../shard-000001.tar": 1}
        listed = [{"filename": name, "num_samples": counts[name]} for name in counts]
        (source / "m" / "manifest.json").write_text(json.dumps({"shards": listed}))
    else:
        (source / "current").symlink_to(".")
    other = tars.open(name="other", shards=shards)
    report = tars.reclaim(key, other)
    assert not report.deleted
    assert len(report.troubles) == 2


@pytest.mark.slow
def test_a_volume_waits_for_its_windows_and_these_outlive_it(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    make_ct_rate_repository(folder, num_patients=2, splits=("valid",))
    fields: dict[str, Any] = {"source": "folder", "folder": str(folder), "splits": ("valid",)}
    fields |= {
        "max_rejected_share": 1.0,
        "max_excluded_share": 1.0,
        "samples_per_shard": 4,
        "hu_rule": "none",
    }
    root = str(tmp_path / "data")
    windows = open_workspace(
        CTWindows(CTWindowDatasetSpec(name="windows", **fields)), data_root=root
    )
    spec = VolumeDatasetSpec(name="volumes", **fields, delete_sources=True)
    volumes = plan(open_workspace(VolumeDataset(spec), data_root=root))
    (first, *_) = volumes.read_plan().partitions
    make(volumes, first)

    def reclaim() -> ReclaimReport:
        return reclaim_partition(volumes, first, confirmed=True, others=Others((windows,)))

    report = reclaim()
    assert not report.deleted
    assert "the dataset windows still needs it" in report.troubles[0]
    make(plan(windows), first)
    made = windows.paths.shard(first).read_bytes()
    assert len(reclaim().deleted) == 4
    # The masks are the only copy now.
    plan(windows)
    make(windows, first)
    assert windows.paths.shard(first).read_bytes() == made
    with pytest.raises(ReclaimError, match="is gone, so the shard that holds it is not made again"):
        plan_shard(windows, first, force=True)


def test_a_tar_that_the_other_could_not_read_for_a_moment_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tars = Tars(tmp_path, 4)
    tars.write([3, 1])
    (key,) = tars.build()
    other = tars.open(name="other")
    read = webdataset_rows.index_tar
    tried: list[Path] = []

    def fail_once(place: Path, **options: Any) -> Any:
        tried.append(place)
        if len(tried) == 1:
            raise SampleRejectedError(Reason.UNREADABLE_SOURCE, "the disk did not answer")
        return read(place, **options)

    monkeypatch.setattr(webdataset_rows, "index_tar", fail_once)
    report = tars.reclaim(key, other)
    assert not report.deleted
    assert "its plan could not read it (unreadable_source)" in "".join(report.troubles)
