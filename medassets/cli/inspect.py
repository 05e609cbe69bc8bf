"""`medassets inspect`: the first samples of a shard."""

from pathlib import Path

import click

from medassets.cli.console import Output, format_bytes
from medassets.shards.inspection import describe_samples


@click.command(name="inspect")
@click.argument("shard", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--num-samples", type=click.IntRange(1), default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(shard: Path, num_samples: int, *, as_json: bool) -> int:
    """Show keys, shapes, dtypes, value ranges, labels and texts of SHARD, any WebDataset tar."""
    output = Output(as_json)
    samples = describe_samples(shard, num_samples=num_samples)
    for sample in samples:
        rows = [
            [suffix, format_bytes(facts["bytes"]), _words(facts)]
            for suffix, facts in sample["members"].items()
        ]
        output.table(sample["key"], ["member", "size", "content"], rows)
        if sample.get("spacing_mm"):
            source = sample.get("source_spacing_mm")
            output.say(f"  spacing {sample['spacing_mm']} mm (source {source})")
    output.result({"shard": str(shard), "samples": samples})
    return 0


def _words(facts: dict) -> str:
    if "shape" in facts:
        shape = " x ".join(str(n) for n in facts["shape"])
        return f"{shape} {facts['dtype']}, {facts['min']:.4g} to {facts['max']:.4g}"
    if "values" in facts:
        return " ".join(f"{value:g}" for value in facts["values"])
    if "start" in facts:
        return f"{facts['start']!r}, {facts['characters']} characters"
    return facts.get("problem") or ", ".join(facts.get("fields", ()))
