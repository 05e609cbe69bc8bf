"""`medassets build`: catalog, source files, shards and manifest, through Dagster."""

from collections.abc import Mapping

import click

from medassets.cli.build_options.output_folder import place_output
from medassets.cli.build_options.setting import change_declaration, parse_settings
from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output
from medassets.cli.options import KindCommand, check_given_options
from medassets.cli.runner import build_dataset
from medassets.cli.selection import BuildOptions, Mode, check_options
from medassets.cli.session import Session
from medassets.errors import UsageError


@click.command(name="build", cls=KindCommand)
@click.argument("dataset", shell_complete=complete_datasets)
@click.option("--split", multiple=True, help="Only shards of this split; may be repeated.")
@click.option(
    "--limit",
    "--max-samples",
    "limit",
    type=click.IntRange(1),
    help="Trial: plan only the first N samples.",
)
@click.option(
    "--samples-per-shard", type=click.IntRange(1), help="Shard size; before the first plan only."
)
@click.option(
    "--num-workers", type=click.IntRange(0), default=0, help="Threads; 0 means one per core."
)
@click.option(
    "--partitions", help="Shards by key or range: valid-000000,train-000003..train-000009."
)
@click.option("--missing", is_flag=True, help="Only shards that were never built, or are lost.")
@click.option(
    "--failed", is_flag=True, help="Only shards whose last build failed, or that are lost."
)
@click.option("--force", is_flag=True, help="Rebuild shards even if they are complete.")
@click.option(
    "--revision",
    default="",
    help="Read a Hub at this revision; shards that were never built follow it.",
)
@click.option("--update", is_flag=True, help="Rebuild shards whose files or rows changed on a Hub.")
@click.option(
    "--allow-shrink",
    is_flag=True,
    help="Publish manifests that list fewer samples than the published ones.",
)
@click.option("--no-refresh", is_flag=True, help="Keep the catalog; do not look for new files.")
@click.option(
    "--mode",
    type=click.Choice(["full", "clip", "process"]),
    default="full",
    help="Everything, clips only, or frames only.",
)
@click.option(
    "--split-mode",
    type=click.Choice(["random", "all_train", "all_test"]),
    help="How videos get their split; before the first plan only.",
)
@click.option("--seed", type=int, help="Seed of random splits; before the first plan only.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="What decodes frames.")
@click.option("--use-gpu", is_flag=True, help="The same as --device cuda.")
@click.option("--gpu-ids", default="", help="GPUs that decode, by CUDA index: 0,1; default: all.")
@click.option("--workers-per-gpu", type=click.IntRange(1), help="Decoder processes of each GPU.")
@click.option(
    "--num-frames", help="Frames of a sample, or all; before the first plan only, as --set."
)
@click.option("--frame-height", type=int, help="Height of a frame; before the first plan only.")
@click.option("--frame-width", type=int, help="Width of a frame; before the first plan only.")
@click.option(
    "--output-dir",
    default="",
    help="Folder of the shards and manifest of one split; with several, a folder for each in it.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Replace a field of the declaration, before the first plan only; may be repeated.",
)
@click.option(
    "--delete-sources",
    "--delete-source-files",
    "delete_sources",
    is_flag=True,
    help="Delete each source file that is proven to be in its shard; asks for the word DELETE.",
)
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(
    context: click.Context,
    dataset: str,
    split: tuple[str, ...],
    limit: int | None,
    samples_per_shard: int | None,
    num_workers: int,
    partitions: str | None,
    mode: Mode,
    split_mode: str | None,
    seed: int | None,
    device: str | None,
    gpu_ids: str,
    workers_per_gpu: int | None,
    num_frames: str | None,
    frame_height: int | None,
    frame_width: int | None,
    output_dir: str,
    changes: tuple[str, ...],
    revision: str,
    *,
    use_gpu: bool,
    update: bool,
    missing: bool,
    failed: bool,
    force: bool,
    allow_shrink: bool,
    no_refresh: bool,
    delete_sources: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Build the shards of DATASET that are missing, failed, stale or lost; keep the others.

    It can be interrupted at any time: the next build continues after the last complete sample.
    """
    session, output = Session(), Output(as_json)
    check_given_options(context, session.kind(dataset))
    frames = {"num_frames": num_frames, "height": frame_height, "width": frame_width}
    fields = parse_settings(changes) | parse_settings(_as_settings(frames))
    if fields:
        session = change_declaration(session, output, dataset, fields)
    options = BuildOptions(
        splits=split,
        limit=limit,
        samples_per_shard=samples_per_shard,
        num_workers=num_workers,
        partitions=partitions,
        missing=missing,
        failed=failed,
        force=force,
        allow_shrink=allow_shrink,
        refresh=not no_refresh,
        revision=revision,
        update=update,
        mode=mode,
        settings={
            name: value
            for name, value in (("split_mode", split_mode), ("seed", seed))
            if value is not None
        },
        device=device or ("cuda" if use_gpu or gpu_ids else ""),
        gpu_ids=_parse_ids(gpu_ids),
        workers_per_gpu=workers_per_gpu or 0,
        delete_sources=delete_sources,
        yes=yes,
    )
    if output_dir:
        check_options(session.workspace(dataset), options)
        place_output(session.workspace(dataset), output_dir, split)
    return build_dataset(session, output, dataset, options)


def _as_settings(values: Mapping[str, object]) -> list[str]:
    return [f"{field}={value}" for field, value in values.items() if value is not None]


def _parse_ids(text: str) -> tuple[int, ...]:
    """Return the GPUs of a text such as `0,1`.

    Raises:
        UsageError: If it is none.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() for word in words):
        what = f"expected CUDA indices such as 0,1, got {text!r}"
        raise UsageError(field="--gpu-ids", what=what)
    return tuple(map(int, words))
