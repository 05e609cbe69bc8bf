"""`medassets merge-info`: several exports as one dataset for the trainer."""

from collections.abc import Mapping
from pathlib import Path

import click

from medassets.cli.console import Output
from medassets.cli.formatting import count_words
from medassets.exports.merge_info import merge_infos
from medassets.storage.paths import local_path

_NAMED_FOLDERS = 5
_NAMED_VIDEOS = 5


@click.command(name="merge-info")
@click.argument(
    "infos",
    nargs=-1,
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="INFO...",
)
@click.option(
    "--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Merged file."
)
@click.option(
    "--val-count",
    type=click.IntRange(0),
    default=0,
    help="Samples of train that become val: whole videos, if some have just as many.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of that choice.")
@click.option(
    "--absolute/--relative",
    default=True,
    help="Paths that a trainer finds from any folder, or ones as seen from --out.  [default: absolute]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    infos: tuple[Path, ...], out: Path, val_count: int, seed: int, *, absolute: bool, as_json: bool
) -> int:
    """Merge the dataset_info.json files INFO... into one that finds the samples of all."""
    output = Output(as_json)
    local_path(out, field="--out")
    result = merge_infos(infos, out, val_count=val_count, seed=seed, relative=not absolute)
    for folder in result.absent[:_NAMED_FOLDERS]:
        output.warn(f"{folder}: listed, but does not exist")
    if len(result.absent) > _NAMED_FOLDERS:
        output.warn(f"and {len(result.absent) - _NAMED_FOLDERS:,} more that do not exist")
    if result.repeated:
        output.say(f"named more than once, listed once: {count_words(result.repeated, 'sample')}")
    if result.moved:
        parted = f"; no whole videos have as many, so {result.parted} was divided"
        said = count_words(result.moved, "sample") + parted * (result.parted is not None)
        output.say(f"from train to val: {said}")
    if result.leaks:
        output.warn(_name_leaks(result.leaks))
    listed = ", ".join(f"{split} {count:,}" for split, count in result.listed.items())
    output.say(f"{out}: {listed}")
    output.result({"out": str(out), "num_leaks": len(result.leaks), **vars(result)})
    return 0


def _name_leaks(leaks: Mapping[str, Mapping[str, int]]) -> str:
    """Return a warning that names the first videos of more than one split."""
    named = [
        f"{vid} ({', '.join(f'{split} {number}' for split, number in counts.items())})"
        for vid, counts in list(leaks.items())[:_NAMED_VIDEOS]
    ]
    more = f" and {len(leaks) - len(named):,} more (--json lists all)"
    return (
        f"{count_words(len(leaks), 'video')} in more than one split: {', '.join(named)}"
        f"{more * (len(leaks) > len(named))}. Scores on val or test will look too good; merge "
        f"exports of one split mode and seed, or other videos"
    )
