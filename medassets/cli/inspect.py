"""`medassets inspect`: the first samples of a shard."""

from pathlib import Path
from typing import Any

import click

from medassets.cli.console import Output
from medassets.cli.words import count_words, format_bytes
from medassets.shards.inspection import describe_samples

_MOST_NAMES = 12


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
            [_printable(suffix), format_bytes(facts["bytes"]), _words(facts)]
            for suffix, facts in sample["members"].items()
        ]
        output.table(_printable(sample["key"]), ["member", "size", "content"], rows)
        if sample.get("spacing_mm"):
            source = _steps(sample.get("source_spacing_mm"))
            output.say(f"  spacing {_steps(sample['spacing_mm'])} mm, in the source {source}")
        if "stretch_s" in sample:
            begin_s, end_s = sample["stretch_s"]
            output.say(f"  from {begin_s:g} s to {end_s:g} s of its video")
    output.result({"shard": str(shard), "samples": samples})
    return 0


def _words(facts: dict[str, Any]) -> str:
    if "shape" in facts:
        shape = " x ".join(str(n) for n in facts["shape"]) or "scalar"
        extent = f", {facts['min']:.4g} to {facts['max']:.4g}" if "min" in facts else ""
        odd = f", {facts['not_finite']:,} not finite" if "not_finite" in facts else ""
        return f"{shape} {facts['dtype']}{extent}{odd}"
    if "values" in facts:
        return " ".join("nan" if v is None else f"{v:g}" for v in facts["values"])
    if "start" in facts:
        return f"{facts['start']!r}, {count_words(facts['characters'], 'character')}"
    if "fields" in facts:
        names, more = facts["fields"][:_MOST_NAMES], len(facts["fields"]) - _MOST_NAMES
        return ", ".join(names) + (f" and {more} more" if more > 0 else "")
    if facts.get("items"):
        return f"{count_words(facts['items'], 'item')}: {facts['value']}"
    return str(facts.get("problem") or facts.get("value") or "")


def _steps(spacing: Any) -> str:
    if not isinstance(spacing, list):
        return "unknown"
    return " x ".join(f"{step:.4g}" if isinstance(step, float) else str(step) for step in spacing)


def _printable(name: str) -> str:
    """Return a name from a foreign file without the characters that steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
