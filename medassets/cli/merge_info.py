"""`medassets merge-info`: several exports as one dataset for the trainer."""

from pathlib import Path

import click

from medassets.cli.console import Output
from medassets.cli.words import count_words
from medassets.exports.merge_info import merge_infos

_NAMED_FOLDERS = 5


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
    help="Samples of train that become val, whole videos as far as the number allows.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of that choice.")
@click.option("--absolute", is_flag=True, help="Absolute paths instead of ones relative to --out.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    infos: tuple[Path, ...], out: Path, val_count: int, seed: int, *, absolute: bool, as_json: bool
) -> int:
    """Merge the dataset_info.json files INFO... into one that finds the samples of all."""
    output = Output(as_json)
    result = merge_infos(infos, out, val_count=val_count, seed=seed, absolute=absolute)
    for folder in result.absent[:_NAMED_FOLDERS]:
        output.warn(f"{folder}: listed, but not there")
    if len(result.absent) > _NAMED_FOLDERS:
        output.warn(f"and {len(result.absent) - _NAMED_FOLDERS:,} more that are not there")
    if result.repeated:
        output.say(f"named more than once, listed once: {count_words(result.repeated, 'sample')}")
    if result.moved:
        parted = f"; only video {result.parted} is on both sides" if result.parted else ""
        output.say(f"from train to val: {count_words(result.moved, 'sample')}{parted}")
    listed = ", ".join(f"{split} {count:,}" for split, count in result.listed.items())
    output.say(f"{out}: {listed}")
    output.result({"out": str(out), **vars(result)})
    return 0
