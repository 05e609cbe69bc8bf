"""`medassets inspect`: describe the first samples of a shard."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from medassets.cli.console import Output
from medassets.cli.formatting import count_words, format_bytes
from medassets.errors import SpecError, UsageError
from medassets.shards.inspection import describe_samples
from medassets.storage.atomic import publish_bytes
from medassets.storage.formats.npy import decode_any_npy
from medassets.storage.ownership import never
from medassets.tars.lists import find_shards
from medassets.tars.reader import open_tar
from medassets.tars.scan import iter_samples

_MOST_NAMES = 12
_MISSING = {
    "volume": "no volume (npy, npz, or bin with shape and dtype in the json)",
    "labels": "no labels (cls or labels)",
    "text": "no text (txt)",
    "json": "no json, which names the study and its spacing",
}
# Suffixes that YAML reads as text without quotes.
_PLAIN = re.compile(r"[a-z][a-z0-9_.]*", re.ASCII)


@click.command(name="inspect")
@click.argument("shard", type=click.Path(exists=True, path_type=Path))
@click.option("--num-samples", type=click.IntRange(1), default=2, show_default=True)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a picture of the first samples to this new file, as JPEG.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(shard: Path, num_samples: int, picture: Path | None, *, as_json: bool) -> int:
    """Show keys, shapes, dtypes, value ranges, labels and texts of SHARD, any WebDataset tar.

    Of a manifest, or a folder with shards, it shows the first shard, and how many there are.
    """
    output = Output(as_json)
    shard, about = _choose_shard(shard)
    if about:
        output.say(about)
    proposals = _Proposals()
    samples = describe_samples(shard, num_samples=num_samples, explain=proposals.explain)
    for sample in samples:
        _show(output, sample)
    for line in _list_lengths(samples):
        output.warn(line)
    fields, problem = proposals.agree()
    if fields:
        output.say(f"  of a declaration: {_as_yaml(fields)}")
    if problem:
        output.say(f"  {_printable(problem)}")
    if picture is not None:
        publish_bytes(picture.absolute(), _draw(shard), is_ours=never)
        output.say(f"  picture: {picture}")
    found = {"proposed_fields": fields, "fields_problem": problem}
    output.result({"shard": str(shard), "samples": samples, **found})
    return 0


def _choose_shard(place: Path) -> tuple[Path, str]:
    """Return the shard to look at, and what the folder or manifest that was named says of all."""
    if not place.is_dir() and place.suffix != ".json":
        return place, ""
    shards = find_shards(place)
    counts = [shard.num_samples for shard in shards if shard.num_samples is not None]
    samples = f", {count_words(sum(counts), 'sample')}" if len(counts) == len(shards) else ""
    return shards[
        0
    ].path, f"{count_words(len(shards), 'shard')}{samples}; the first: {shards[0].path}"


def _draw(shard: Path) -> bytes:
    """Return a picture of the first samples of a shard that medassets made, as JPEG.

    Raises:
        UsageError: If its samples are neither volumes, nor windows, nor frames of ours.
    """
    with open_tar(shard) as tar:
        sample = next(iter_samples(tar))
        members = {
            suffix: bytes(tar.read(member))
            for suffix, member in sample.members.items()
            if suffix in ("bin", "npy", "txt", "json") or suffix.endswith(".bits")
        }
    try:
        return _draw_members(members)
    except (KeyError, TypeError, ValueError) as error:
        what = f"{shard}: no picture can be drawn of samples that medassets did not make"
        raise UsageError(field="--picture", what=what) from error


def _draw_members(members: Mapping[str, bytes]) -> bytes:
    from medassets.video.preview import draw_contact_sheet
    from medassets.volumes.preview import draw_sample_preview
    from medassets.volumes.windows.preview import draw_windows_preview

    if "npy" in members:
        return draw_contact_sheet([(decode_any_npy(members["npy"]), members["txt"].decode())])
    if "bin" in members:
        return draw_sample_preview(members)
    return draw_windows_preview(members)


def _list_lengths(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each member whose samples have different numbers of labels."""
    lengths: dict[str, set[int]] = {}
    for sample in samples:
        for suffix, facts in sample["members"].items():
            if "values" in facts:
                lengths.setdefault(suffix, set()).add(len(facts["values"]))
    return [
        f"  .{_printable(suffix)} has {', '.join(map(str, sorted(found)))} labels in different "
        "samples; a dataset has one number"
        for suffix, found in lengths.items()
        if len(found) > 1
    ]


class _Proposals:
    """Proposes the fields of a declaration from the members of volume samples."""

    def __init__(self) -> None:
        self._found: list[tuple[dict[str, str], str]] = []

    def explain(self, suffixes: Collection[str], facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the spacing of a sample, and record its members."""
        from medassets.volumes.catalog.webdataset_facts import read_spacing

        if not _is_of_other_kind(suffixes, facts):
            self._found.append(_propose(suffixes, facts))
        spacing = read_spacing(facts)
        return {} if None in spacing else {"spacing_mm": spacing}

    def agree(self) -> tuple[dict[str, str] | None, str | None]:
        """Return the fields common to all samples, and the problem with them, if any."""
        if not self._found:
            return None, None
        fields, problem = self._found[0]
        if any(found != (fields, problem) for found in self._found):
            return None, "the samples do not have the same members; inspect more of them"
        return fields or None, problem or None


def _propose(suffixes: Collection[str], facts: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    from medassets.volumes.catalog.webdataset_fields import propose_fields

    try:
        found = propose_fields([suffix.lower() for suffix in suffixes], facts)
    except SpecError as error:
        return {}, str(error)
    return found.as_fields(), "; ".join(_MISSING[role] for role in found.missing())


def _is_of_other_kind(suffixes: Collection[str], facts: Mapping[str, Any]) -> bool:
    """Return whether a sample is a clip or the masks of a volume, made by medassets."""
    is_clip = {"begin_s", "end_s"} <= set(facts)
    return is_clip or any(suffix.endswith("bits") for suffix in suffixes)


def _as_yaml(fields: Mapping[str, str]) -> str:
    texts = {r: s if _PLAIN.fullmatch(s) else json.dumps(s) for r, s in fields.items()}
    return "fields: {" + ", ".join(f"{role}: {text}" for role, text in texts.items()) + "}"


def _show(output: Output, sample: Mapping[str, Any]) -> None:
    rows = [
        [_printable(suffix), format_bytes(facts["bytes"]), _words(facts)]
        for suffix, facts in sample["members"].items()
    ]
    output.table(_printable(sample["key"]), ["member", "size", "content"], rows)
    if sample.get("spacing_mm"):
        source = sample.get("source_spacing_mm")
        origin = f", in the source {_steps(source)}" if source else ""
        output.say(f"  spacing {_steps(sample['spacing_mm'])} mm{origin}")
    if "stretch_s" in sample:
        begin_s, end_s = sample["stretch_s"]
        output.say(f"  from {begin_s:g} s to {end_s:g} s of its video")


def _words(facts: dict[str, Any]) -> str:
    if "shape" in facts:
        shape = " x ".join(str(n) for n in facts["shape"]) or "scalar"
        extent = f", {facts['min']:.4g} to {facts['max']:.4g}" if "min" in facts else ""
        odd = f", {facts['not_finite']:,} not finite" if "not_finite" in facts else ""
        return f"{shape} {facts['dtype']}{extent}{odd}"
    if "arrays" in facts:
        arrays = list(facts["arrays"].items())
        shown = [f"{_printable(name)}: {_words(one)}" for name, one in arrays[:_MOST_NAMES]]
        more = len(arrays) - len(shown)
        return "; ".join(shown) + (f" and {more} more" if more else "")
    if "values" in facts:
        return f"{' '.join(f'{v:g}' for v in facts['values'])} ({facts['type']})"
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
    """Return a name from a foreign file with control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
