"""`medassets export`: writes shards as the files that other training code reads."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click

from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output, showing_progress
from medassets.cli.formatting import count_words, format_bytes
from medassets.cli.main import EXIT_FAILED
from medassets.cli.options import KindCommand, check_given_options, list_given_options
from medassets.cli.selection import check_splits
from medassets.cli.session import Session
from medassets.datasets.kind import DatasetKind
from medassets.datasets.registry import check_option
from medassets.datasets.workspace import Workspace
from medassets.errors import UsageError
from medassets.exports.clip4mc import FrameLayout, export_clip4mc
from medassets.exports.clips import export_clips
from medassets.exports.formats import ExportOptions, ExportResult
from medassets.exports.windows import WindowForm, export_windows
from medassets.specs import CTWindow, CTWindowDatasetSpec
from medassets.specs.checks import suggest_name
from medassets.stages import VideoStage, VolumeStage
from medassets.storage.modes import private_files
from medassets.storage.paths import local_path, medassets_home

_NAMED_PROBLEMS = 20


@dataclass(frozen=True)
class _Request:
    """One export.

    Attributes:
        workspace: The dataset, opened at the stage that the format reads.
        keys: All partition keys of its plan, in order.
        out: Target folder.
        options: What applies to every format.
        layout: Axes of the frames, for clip4mc; None for those of its trainer.
        relative: Whether clip4mc names folders from the target folder.
        allow_missing_size: Whether clip4mc writes samples without a size.
        windows: Names of the windows to export; empty means all of the dataset.
        on_wait: Called once if another export of this folder has to be waited for.
    """

    workspace: Workspace
    keys: list[str]
    out: Path
    options: ExportOptions
    layout: FrameLayout | None
    relative: bool
    allow_missing_size: bool
    windows: tuple[str, ...]
    on_wait: Callable[[], None]


def _export_clip4mc(asked: _Request) -> ExportResult:
    return export_clip4mc(
        asked.workspace.paths,
        asked.keys,
        asked.out,
        options=asked.options,
        allow_missing_size=asked.allow_missing_size,
        layout=asked.layout,
        relative=asked.relative,
        on_wait=asked.on_wait,
    )


def _export_clips(asked: _Request) -> ExportResult:
    return export_clips(
        asked.workspace.paths, asked.keys, asked.out, options=asked.options, on_wait=asked.on_wait
    )


def _export_windows(asked: _Request, form: WindowForm) -> ExportResult:
    spec = asked.workspace.kind.spec
    assert isinstance(spec, CTWindowDatasetSpec), "no other kind has windows"
    return export_windows(
        asked.workspace.paths,
        asked.keys,
        asked.out,
        windows=_choose_windows(spec, asked.windows),
        form=form,
        options=asked.options,
        on_wait=asked.on_wait,
    )


def _choose_windows(spec: CTWindowDatasetSpec, asked: Sequence[str]) -> tuple[CTWindow, ...]:
    """Return the windows that were asked for, in the order of the declaration.

    Raises:
        UsageError: If the dataset lacks one.
    """
    having = {window.name: window for window in spec.list_windows()}
    for name in asked:
        if name not in having:
            near = suggest_name(name, having)
            what = f"{spec.name} has no window {name!r}; it has {', '.join(having)}{near}"
            raise UsageError(field="--window", what=what)
    return tuple(window for name, window in having.items() if not asked or name in asked)


@dataclass(frozen=True)
class _Format:
    """One value of `--format`.

    Attributes:
        stage: Stage whose shards it reads; a dataset has the formats of its stages.
        export: Writes it.
        options: Options that have an effect on this format only.
    """

    stage: str
    export: Callable[[_Request], ExportResult]
    options: frozenset[str] = frozenset()


_FORMATS = {
    "clip4mc": _Format(
        VideoStage.FRAMES,
        _export_clip4mc,
        frozenset({"--allow-missing-size", "--layout", "--relative"}),
    ),
    "clips": _Format(VideoStage.CLIPS, _export_clips),
    **{
        name: _Format(
            VolumeStage.WINDOWS, partial(_export_windows, form=name), frozenset({"--window"})
        )
        for name in get_args(WindowForm)
    },
}


@click.command(name="export", cls=KindCommand)
@click.argument("dataset", shell_complete=complete_datasets)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    help=(
        "Video: clip4mc, the folders that the CLIP4MC trainer reads, or clips, mp4 files with "
        "text_video_pairs.json. Windows: npy, masks padded to a cube; sparse_npz, coordinates of "
        "mask voxels; npy_and_sparse, both; tensor_npz, sparse_index and sparse_sdf. Default: the "
        "first that the dataset has."
    ),
)
@click.option(
    "--out",
    "--output-dir",
    "out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to create or update  [default: $MEDASSETS_HOME/exports/DATASET/FORMAT]",
)
@click.option("--window", "windows", multiple=True, help="Only this window; may be repeated.")
@click.option("--split", "splits", multiple=True, help="Only this split; may be repeated.")
@click.option(
    "--force", is_flag=True, help="Rewrite complete samples; files of others still stop the export."
)
@click.option(
    "--allow-missing-size",
    is_flag=True,
    help="clip4mc: write null to size.json instead of leaving the sample out.",
)
@click.option(
    "--layout",
    type=click.Choice(["thwc", "tchw"]),
    help=(
        "clip4mc: axes of the frames; tchw for a trainer that does not transpose what it reads  "
        "[default: thwc]"
    ),
)
@click.option(
    "--relative",
    is_flag=True,
    help="clip4mc: name folders from --out instead of by absolute paths.",
)
@click.option(
    "--num-workers", type=click.IntRange(0), default=0, help="Threads; 0 chooses the number."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(
    context: click.Context,
    dataset: str,
    form: str | None,
    out: Path | None,
    windows: tuple[str, ...],
    splits: tuple[str, ...],
    layout: FrameLayout | None,
    num_workers: int,
    *,
    relative: bool,
    force: bool,
    allow_missing_size: bool,
    as_json: bool,
) -> int:
    """Export the shards of DATASET; keep complete samples, continue an interrupted export."""
    output, session = Output(as_json), Session()
    form = _choose_format(context, session.kind(dataset), session.stages(dataset), form)
    workspace = session.workspace(dataset, _FORMATS[form].stage)
    planned = workspace.read_plan().partitions
    check_splits(workspace, splits, planned)
    home = medassets_home()
    own = nullcontext() if out else private_files(home)
    folder = "-".join([form, *windows])
    out = local_path(out or home / "exports" / dataset / folder, field="--out")
    asked = _Request(
        workspace,
        keys=list(planned),
        out=out,
        options=ExportOptions(splits=splits, force=force, num_workers=num_workers),
        layout=layout,
        relative=relative,
        allow_missing_size=allow_missing_size,
        windows=windows,
        on_wait=lambda: output.warn(f"{out}: waiting for another export to this folder"),
    )
    with own:
        result = _run_shown(output, asked, _FORMATS[form].export)
    _tell(output, workspace, result)
    output.result({"dataset": dataset, "format": form, "out": str(out), **_as_dict(result)})
    return EXIT_FAILED if result.problems else 0


def _choose_format(
    context: click.Context, kind: DatasetKind, stages: list[str], asked: str | None
) -> str:
    """Return the format that was asked for, or the first that the dataset has.

    Raises:
        UsageError: If the dataset has no such format, or an option has no effect on it.
    """
    check_option(kind, "--format")
    check_given_options(context, kind)
    has = [name for name, form in _FORMATS.items() if form.stage in stages]
    name = asked or has[0]
    if name not in has:
        what = f"{kind.spec.name} has no format {name!r}; it has {', '.join(has)}"
        raise UsageError(field="--format", what=what)
    _check_effect(list_given_options(context), name)
    return name


def _check_effect(given: list[str], name: str) -> None:
    """Check that no option belongs to another format only."""
    for option in given:
        owners = [owner for owner, form in _FORMATS.items() if option in form.options]
        if owners and name not in owners:
            what = f"has no effect on the format {name}; it belongs to {', '.join(owners)}"
            raise UsageError(field=option, what=what)


def _run_shown(
    output: Output, asked: _Request, export: Callable[[_Request], ExportResult]
) -> ExportResult:
    planned, splits = asked.workspace.read_plan().partitions, asked.options.splits
    total = sum(n for key, n in planned.items() if not splits or key.rpartition("-")[0] in splits)
    with showing_progress(output, f"export to {asked.out}", total):
        return export(asked)


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
        output.say(f"no longer in the dataset, still on disk but not listed: {retired}")
    listed = ", ".join(f"{split} {count:,}" for split, count in result.listed.items()) or "nothing"
    output.say(
        f"{workspace.kind.spec.name}: {count_words(result.written, 'sample')} written "
        f"({format_bytes(result.written_bytes)}), {result.kept:,} kept; "
        f"{result.index} lists {listed}"
    )


def _as_dict(result: ExportResult) -> dict[str, Any]:
    return {**vars(result), "index": str(result.index)}
