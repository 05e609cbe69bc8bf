"""Every row of docs/migrating.md is run by a test: the new command with the old values, and its result."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.hub import LocalHub

Medassets = Callable[..., Any]

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "medassets_tests"

# First cell of a row -> tests of this repository that run it.
COVERED: dict[str, tuple[str, ...]] = {
    "`--split valid`": ("test_the_options_of_the_preprocessing_script_give_the_same_shards",),
    "`--output-dir DIR`": (
        "test_the_options_of_the_preprocessing_script_give_the_same_shards",
        "test_one_split_is_directly_in_the_folder",
    ),
    "`--samples-per-shard 128`": (
        "test_the_options_of_the_preprocessing_script_give_the_same_shards",
        "test_the_shard_size_can_be_chosen_before_the_first_plan_only",
    ),
    "`--num-workers 8`": ("test_the_number_of_workers_changes_no_byte",),
    "`--force`": (
        "test_the_options_of_the_preprocessing_script_give_the_same_shards",
        "test_missing_failed_and_force_choose_by_state",
    ),
    "`--repo-id ORG/NAME`": ("test_a_repository_is_set_and_staging_may_be_a_link",),
    "`--temp-dir DIR`": ("test_a_repository_is_set_and_staging_may_be_a_link",),
    "files found, shards planned, existing, missing": (
        "test_a_plan_counts_everything_and_writes_nothing",
        "test_a_plan_after_a_build_shows_what_is_left",
    ),
    "progress, successes, failures, total": (
        "test_a_build_makes_shards_and_manifest_and_tells_what_it_did",
        "test_a_shard_that_fails_is_named_and_retried_alone",
    ),
    "`manifest.json`": (
        "test_a_manifest_has_the_keys_that_readers_rely_on",
        "test_the_options_of_the_preprocessing_script_give_the_same_shards",
    ),
    "`<key>.bin .txt .cls .json`; a loader of `.labels`": (
        "test_labels_may_be_in_the_member_that_older_loaders_read",
    ),
    "110 MB a sample, 5 TB free": (
        "test_a_plan_warns_of_a_disk_that_is_too_small",
        "test_a_disk_that_is_too_small_gives_exit_code_4",
    ),
    "a rerun after an error resumes": (
        "test_builds_killed_at_random_instants_go_on_to_the_same_bytes",
    ),
    "token of a gated repository": ("test_a_gated_repository_is_ok_only_if_its_files_can_be_read",),
    "raw tars by brace pattern": (
        "test_raw_tars_are_preprocessed_as_verify_makes_them_again",
        "test_a_pattern_keeps_its_braces_and_names_what_is_missing",
    ),
    "`--original-pattern --preprocessed-pattern --num-samples`": (
        "test_raw_tars_are_preprocessed_as_verify_makes_them_again",
    ),
    "`inspect` first samples": (
        "test_our_shard_shows_arrays_labels_texts_and_spacing",
        "test_a_folder_and_a_manifest_show_their_first_shard",
        "test_a_picture_shows_the_first_sample",
    ),
    "training YAML `train_shard_pattern, valid_shard_pattern, preprocessed, num_workers`": (
        "test_the_yaml_of_a_trainer_makes_both_loaders",
    ),
    "`--data_folder --reports_file --meta_file --labels_file`": (
        "test_the_options_of_the_npz_script_name_its_files",
        "test_an_npz_tree_keeps_its_values",
    ),
    "`--output_dir DIR`": ("test_the_options_of_the_preprocessing_script_give_the_same_shards",),
    "`--samples_per_shard --num_workers`": ("test_options_may_be_written_with_underscores",),
    "`--test_mode`": (
        "test_an_option_of_an_older_script_names_what_replaces_it",
        "test_a_limit_on_a_larger_plan_builds_its_first_shards_only",
    ),
    "`--delete_source_files`, typed DELETE, `--yes`": (
        "test_only_the_typed_word_deletes_and_turns_partitions_green",
        "test_build_deletes_shard_by_shard_and_does_nothing_the_second_time",
    ),
    "files of failed samples are kept, the last line counts them": (
        "test_build_deletes_shard_by_shard_and_does_nothing_the_second_time",
        "test_files_held_by_a_limit_stay",
    ),
    "batches of 5,000 into separate folders": (
        "test_an_interrupted_build_says_so_and_the_next_one_goes_on",
    ),
    "`average_sample_size_mb`, `compression_ratio`": (
        "test_sizes_of_a_manifest_are_megabytes_of_ten_to_the_six",
    ),
    "`.labels` members": ("test_labels_may_be_in_the_member_that_older_loaders_read",),
    "`--check_precision`": ("test_sizes_of_a_manifest_are_megabytes_of_ten_to_the_six",),
    "`CTWindowSparseSDF(roots, resolution, window_type, min_points, max_points, cache_data, precompute_sparse)`": (
        "test_arguments_and_defaults_are_those_of_existing_training_code",
    ),
    "other points at each call": (
        "test_points_that_come_again_because_no_epoch_is_set_are_warned_of_once",
        "test_a_drawn_subset_is_seeded_by_epoch_and_index",
    ),
    "printed summary": ("test_arguments_and_defaults_are_those_of_existing_training_code",),
    "`--roots --window_type --batch_size --num_batches --cache_data --precompute_sparse`": (
        "test_the_options_of_the_older_script_name_the_same",
        "test_windows_in_folders_are_measured",
    ),
    "`_sparse.npz` beside each `.npy`, one window": (
        "test_points_may_be_beside_the_masks",
        "test_one_window_of_several_is_exported",
    ),
    "`<window>.npz` with `sparse_sdf, sparse_index`": (
        "test_later_loaders_find_tensors_under_their_names",
    ),
    "Windows paths": ("test_other_systems_than_linux_are_told_at_import",),
    "`--mode full/clip/process`": ("test_clips_alone_then_frames_of_them_show_the_same_frames",),
    "`--videos-dir --info-csv --metadata`": (
        "test_the_options_of_the_video_pipeline_name_its_files",
    ),
    "`--clips-dir --pairs-json`": (
        "test_the_options_of_the_video_pipeline_name_its_files",
        "test_plain_clips_with_their_texts",
    ),
    "`--output-dir DIR` of samples": ("test_the_video_demo_builds_clips_and_frames_and_exports",),
    "`--num-frames --frame-height --frame-width`": (
        "test_a_clip4mc_folder_with_the_options_of_its_pipeline",
    ),
    "`--split-mode --seed`": (
        "test_a_clip4mc_folder_with_the_options_of_its_pipeline",
        "test_a_split_mode_and_a_seed_are_kept_from_the_first_plan_on",
    ),
    "`--max-samples`": ("test_a_limit_on_a_larger_plan_builds_its_first_shards_only",),
    "`--use-gpu --gpu-ids 0,1 --workers-per-gpu 8`": ("test_options_of_gpus_reach_the_decoders",),
    "`--gpu-encode-clip`": ("test_clips_are_encoded_as_set",),
    "`--resume --checkpoint-file`": (
        "test_every_replaced_option_says_so",
        "test_builds_killed_at_random_instants_go_on_to_the_same_bytes",
    ),
    "`clips/VID_begin_end.mp4`, `text_video_pairs.json`": (
        "test_the_video_demo_builds_clips_and_frames_and_exports",
    ),
    "`sample_000000_VID/…`, `dataset_info.json`": (
        "test_numbers_follow_the_partitions_and_splits_are_those_of_the_shards",
    ),
    "film matched by its title": ("test_titles_match_however_they_were_saved",),
    "merge of two `dataset_info.json`, val from train": (
        "test_exports_are_merged_and_val_taken_from_train",
    ),
    "a missing size becomes 0.5": ("test_a_sample_without_size_is_left_out_unless_allowed",),
    "backfills, `dagster asset materialize`": (
        "test_a_dataset_is_added_with_yaml_alone_and_built_with_dagsters_own_command",
    ),
    "`--partition-range`": ("test_a_partition_range_is_built_with_dagsters_own_command",),
    "schedules": ("test_a_dataset_grows_and_outlives_an_outage_hands_off",),
}


@cache
def list_tests() -> set[str]:
    """Return the names of all tests of the repository."""
    found = re.compile(r"^ *def (test_\w+)\(", re.MULTILINE)
    return {name for path in TESTS.rglob("test_*.py") for name in found.findall(path.read_text())}


def test_every_row_of_the_page_is_run_by_tests_that_exist() -> None:
    text = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| .+ \|.*\|$", text, re.MULTILINE)
    rows = [row for row in rows if row not in ("before", "---")]
    assert sorted(rows) == sorted(COVERED)
    named = {name for names in COVERED.values() for name in names}
    assert sorted(named - list_tests()) == []


def test_the_options_of_the_preprocessing_script_give_the_same_shards(
    medassets: Medassets, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path / "other"))
    out = tmp_path / "made" / "valid"
    options = ["--split", "valid", "--output_dir", str(out), "--samples_per_shard", "4"]
    options += ["--num_workers", "1", "--force", "--json"]
    made = medassets("build", "lungs", *options).document
    assert (len(made["built"]), made["num_samples"]) == (2, 7)
    for name in ("shard-000000.tar", "shard-000001.tar"):
        assert (out / name).read_bytes() == (built / "valid" / name).read_bytes()
    manifest = json.loads((out / "manifest.json").read_text())
    assert {
        *("dataset", "split", "format", "preprocessed", "total_shards", "total_samples"),
        *("sample_shape", "sample_dtype", "num_classes", "shards"),
    } <= manifest.keys()
    assert (manifest["total_shards"], manifest["total_samples"]) == (2, 7)
    assert {"shard_index", "filename", "num_samples", "size_bytes"} <= manifest["shards"][0].keys()
    assert medassets("verify", "lungs", "--json").document["damaged"] == []
    assert medassets("status", "lungs", "--json").document["counts"]["done"] == 2
    assert "2 kept" in medassets("build", "lungs", "--split", "valid").out


@pytest.mark.slow
def test_a_repository_is_set_and_staging_may_be_a_link(
    medassets: Medassets,
    hub_dataset: LocalHub,
    declare: Callable[..., Path],
    home: Path,
    tmp_path: Path,
) -> None:
    declare("remote", repo_id="org/none", endpoint=hub_dataset.endpoint, keep_raw=True)
    (tmp_path / "fast").mkdir()
    home.mkdir()
    (home / "staging").symlink_to(tmp_path / "fast")
    built = medassets("build", "remote", "--set", "repo_id=org/ct", "--limit", "1", "--json")
    assert built.document["num_samples"] == 1
    assert list((tmp_path / "fast").rglob("*.nii.gz"))
    assert "org/ct" in medassets("plan", "remote").out


def test_sizes_of_a_manifest_are_megabytes_of_ten_to_the_six(built: Path) -> None:
    manifest = json.loads((built / "train" / "manifest.json").read_text())
    mean = sum(one["size_bytes"] for one in manifest["shards"]) / manifest["total_samples"]
    assert manifest["average_sample_size_mb"] == round(mean / 1e6, 3)
    assert {"compression_ratio", "total_size_bytes"} <= manifest.keys()


def test_every_replaced_option_says_so(medassets: Medassets) -> None:
    for option in ("--resume", "--checkpoint_file=x", "--temp_dir=x", "--repo_id=a/b"):
        ran = medassets("build", "ct_rate", option)
        assert ran.code == 2
        assert "in place of --" in ran.err


def test_clips_are_encoded_as_set(medassets: Medassets, declare_films: Callable[..., Path]) -> None:
    from medassets.cli.build_options.setting import change_declaration, parse_settings
    from medassets.cli.console import Output
    from medassets.cli.session import Session

    declare_films()
    changes = parse_settings(["clips=reencode", "clip_encoder=h264_nvenc"])
    spec = change_declaration(Session(), Output(), "films", changes).kind("films").spec
    assert (getattr(spec, "clips", ""), getattr(spec, "clip_encoder", "")) == (
        "reencode",
        "h264_nvenc",
    )
