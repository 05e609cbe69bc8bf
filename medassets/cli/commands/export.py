"""`medassets export`: shards as the files that other training code reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from medassets.cli.console import Output, showing_progress
from medassets.cli.formatting import count_words, format_bytes
from medassets.cli.main import EXIT_FAILED
from medassets.cli.selection import check_splits
from medassets.cli.session import Session
from medassets.datasets.workspace import Workspace
from medassets.exports.clip4mc import FrameLayout, export_clip4mc
from medassets.exports.clips import export_clips
from medassets.exports.formats import ExportOptions, ExportResult
from medassets.exports.windows import export_windows
from medassets.specs import CTWindow, CTWindowDatasetSpec
from medassets.stages import VideoStage, VolumeStage
from medassets.storage.paths import medassets_home

_STAGES = {
    "clip4mc": VideoStage.FRAMES,
    "clips": VideoStage.CLIPS,
    "npy": VolumeStage.WINDOWS,
    "sparse_npz": VolumeStage.WINDOWS,
}
_HELP = (
    "Video: clip4mc, folders of the CLIP4MC trainer, or clips, mp4 with text_video_pairs.json. "
    "Windows: npy, masks padded to a cube, or sparse_npz, their points. The first that the dataset "
    "has shards for without it."
)
_NAMED_PROBLEMS = 20


@click.command(name="export")
@click.argument("dataset")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_STAGES)),
    help=_HELP,
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to or to bring up to date  [default: $MEDASSETS_HOME/exports/DATASET/FORMAT]",
)
@click.option("--split", "splits", multiple=True, help="Only this split; may be given again.")
@click.option("--force", is_flag=True, help="Write again what is whole.")
@click.option(
    "--allow-missing-size",
    is_flag=True,
    help="clip4mc: null in size.json instead of leaving the sample out.",
)
@click.option(
    "--layout",
    type=click.Choice(["tchw", "thwc"]),
    default="tchw",
    show_default=True,
    help="clip4mc: axes of the frames; thwc for a trainer that transposes what it reads.",
)
@click.option("--num-workers", type=click.IntRange(0), default=0, help="Threads; 0 chooses.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    dataset: str,
    form: str | None,
    out: Path | None,
    splits: tuple[str, ...],
    layout: FrameLayout,
    num_workers: int,
    *,
    force: bool,
    allow_missing_size: bool,
    as_json: bool,
) -> int:
    """Export the shards of DATASET; what is whole is kept, and a killed export goes on."""
    output, session = Output(as_json), Session()
    form = form or _choose_form(session.stages(dataset))
    workspace = session.workspace(dataset, _STAGES[form])
    planned = workspace.read_plan().partitions
    check_splits(workspace, splits, planned)
    out = (out or medassets_home() / "exports" / dataset / form).absolute()
    options = ExportOptions(splits=splits, force=force, num_workers=num_workers)

    def run(on_wait: Callable[[], None]) -> ExportResult:
        paths, keys = workspace.paths, list(planned)
        if form == "clips":
            return export_clips(paths, keys, out, options=options, on_wait=on_wait)
        if form in ("npy", "sparse_npz"):
            windows = _list_windows(workspace)
            return export_windows(
                paths, keys, out, windows=windows, form=form, options=options, on_wait=on_wait
            )
        return export_clip4mc(
            paths,
            keys,
            out,
            options=options,
            allow_missing_size=allow_missing_size,
            layout=layout,
            on_wait=on_wait,
        )

    result = _run_shown(output, workspace, splits, out, run)
    _tell(output, workspace, result)
    output.result({"dataset": dataset, "format": form, "out": str(out), **_as_dict(result)})
    return EXIT_FAILED if result.problems else 0


def _choose_form(stages: list[str]) -> str:
    return next((form for form, stage in _STAGES.items() if stage in stages), "clip4mc")


def _list_windows(workspace: Workspace) -> tuple[CTWindow, ...]:
    spec = workspace.kind.spec
    assert isinstance(spec, CTWindowDatasetSpec), "no other kind has windows"
    return spec.list_windows()


def _run_shown(
    output: Output,
    workspace: Workspace,
    splits: tuple[str, ...],
    out: Path,
    run: Callable[[Callable[[], None]], ExportResult],
) -> ExportResult:
    planned = workspace.read_plan().partitions
    total = sum(n for key, n in planned.items() if not splits or key.rpartition("-")[0] in splits)
    with showing_progress(output, f"export to {out}", total):
        return run(lambda: output.warn(f"{out}: another export is at work here; waiting for it"))


def _tell(output: Output, workspace: Workspace, result: ExportResult) -> None:
    for problem in result.problems[:_NAMED_PROBLEMS]:
        output.warn(problem)
    if len(result.problems) > _NAMED_PROBLEMS:
        output.warn(f"and {len(result.problems) - _NAMED_PROBLEMS:,} more")
    for reason, count in result.skipped.items():
        output.say(f"left out: {count_words(count, 'sample')} ({reason})")
    if result.absent:
        shards = count_words(len(result.absent), "shard")
        output.say(f"not made yet: {shards}; `{workspace.paths.build_command}` makes them")
    if result.retired:
        retired = count_words(result.retired, "sample")
        output.say(f"no longer in the dataset, on the disk but not listed: {retired}")
    listed = ", ".join(f"{split} {count:,}" for split, count in result.listed.items()) or "nothing"
    output.say(
        f"{workspace.kind.spec.name}: {count_words(result.written, 'sample')} written "
        f"({format_bytes(result.written_bytes)}), {result.kept:,} whole already; "
        f"{result.index} lists {listed}"
    )


def _as_dict(result: ExportResult) -> dict[str, Any]:
    return {**vars(result), "index": str(result.index)}
