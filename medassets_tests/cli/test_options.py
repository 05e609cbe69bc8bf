import pytest

from medassets.cli.main import run

VIDEO_ONLY = {"--mode": "clip", "--split-mode": "random", "--seed": "3", "--device": "cpu"}


@pytest.mark.parametrize(("option", "value"), VIDEO_ONLY.items())
def test_an_option_for_video_is_refused_for_ct(
    option: str, value: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["build", "ct_rate", option, value]) == 2
    told = f"{option}: ct_rate is a dataset of CT volumes; only datasets of video clips have this"
    assert told in capfd.readouterr().err


@pytest.mark.parametrize(
    ("dataset", "option"), [("demo_video", "--delete-sources"), ("demo_windows", "--yes")]
)
def test_deletion_is_refused_for_datasets_that_never_delete(
    dataset: str, option: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["build", dataset, option]) == 2
    assert "only datasets of CT volumes have this option" in capfd.readouterr().err


def test_reclaim_is_refused_for_datasets_that_never_delete(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(["reclaim", "demo_windows"]) == 2
    assert "--delete-sources: demo_windows is a dataset of CT windows" in capfd.readouterr().err


def test_an_unknown_dataset_is_named_before_its_options(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["build", "nothing_of_the_kind", "--mode", "clip"]) == 2
    assert "'nothing_of_the_kind' is not declared" in capfd.readouterr().err


@pytest.mark.parametrize("option", [("--layout", "thwc"), ("--allow-missing-size",)])
def test_an_export_option_for_video_is_refused_for_windows(
    option: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "demo_windows", *option]) == 2
    told = f"{option[0]}: demo_windows is a dataset of CT windows; only datasets of video clips"
    assert told in capfd.readouterr().err


def test_export_offers_its_options_under_the_kinds_that_have_them(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(["export", "--help"]) == 0
    common, windows, video, both = capfd.readouterr().out.split("Options")[-4:]
    assert "--window" in windows
    assert "--out" in common
    assert video.startswith(" for datasets of video clips:")
    assert "--layout" in video
    assert both.startswith(" for datasets of CT windows and video clips:")
    assert "--format" in both


def test_the_help_lists_options_under_the_kinds_that_have_them(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(["build", "--help"]) == 0
    common, volumes, video, ct = capfd.readouterr().out.split("Options")[-4:]
    assert "--partitions" in common
    assert ct.startswith(" for datasets of CT volumes and CT windows:")
    assert "--revision" in ct
    assert "--update" in ct
    assert volumes.startswith(" for datasets of CT volumes:")
    assert "--delete-sources" in volumes
    assert video.startswith(" for datasets of video clips:")
    assert all(option in video for option in VIDEO_ONLY)
