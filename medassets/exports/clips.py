"""The folder of mp4 clips with `text_video_pairs.json` that older CLIP4MC tools write and read."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.exports.formats import ExportOptions, ExportResult, Listed
from medassets.exports.run import run_export
from medassets.exports.target import Target, Written
from medassets.shards.contents import OpenShard
from medassets.shards.record import SampleEntry
from medassets.stages import VideoStage
from medassets.storage.checksums import parse_json
from medassets.storage.paths import DatasetPaths

FOLDER = "clips"
INDEX_NAME = "text_video_pairs.json"

_KEY = re.compile(r"(.+)_([0-9]+)_([0-9]+)((?:-[0-9]+)?)")
# Field of the pairs -> field of the sample's json.
_FIELDS = {
    "vid": "vid",
    "begin_time": "begin_s",
    "end_time": "end_s",
    "duration": "duration_s",
    "size": "size",
}
_EXTRA_BYTES = 4096


def export_clips(
    paths: DatasetPaths,
    partitions: Sequence[str],
    out: Path,
    *,
    options: ExportOptions | None = None,
    on_wait: Callable[[], None] | None = None,
) -> ExportResult:
    """Write the `clips` of a dataset as `clips/{vid}_{begin}_{end}.mp4`, listed with their texts.

    Args:
        paths: Paths of the dataset.
        partitions: All partition keys of its plan, in order.
        out: Target folder.
        options: What the user asked for.
        on_wait: Called once if another export of this folder is running.

    Raises:
        CatalogError: If no shard exists, or the folder's journal is damaged.
        UsageError: If the folder holds another export.
        ForeignFileError: If a file that this export did not make is where it would write.
        DiskSpaceError: If the disk cannot hold what is to be written.
    """
    options = options or ExportOptions()
    return run_export(paths, partitions, out, form=ClipsFormat(), options=options, on_wait=on_wait)


def name_clip(key: str) -> str:
    """Return the file name of a clip: begin and end in seconds, without trailing zeros.

    `abc_12500_15000` is `abc_12.5_15.mp4`; a second clip of the same stretch ends in `-2.mp4`.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        return f"{key}.mp4"
    begin, end = (_seconds(int(match[i])) for i in (2, 3))
    return f"{match[1]}_{begin}_{end}{match[4]}.mp4"


def _seconds(ms: int) -> str:
    whole, rest = divmod(ms, 1000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)


@dataclass(frozen=True)
class ClipsFormat:
    """One mp4 file per sample; see `export_clips`."""

    name: str = "clips"
    stage: str = VideoStage.CLIPS

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything but the sample that its files' bytes depend on."""
        return {"version": 1}

    @property
    def unasked(self) -> Mapping[str, Mapping[str, Any]]:
        """Nothing: the format has one form."""
        return {}

    def place(self, number: int, key: str) -> str:
        """Return the path of a clip inside the target folder."""
        return f"{FOLDER}/{name_clip(key)}"

    @property
    def file_names(self) -> tuple[str, ...]:
        """Return no names: a clip is one file."""
        return ()

    @property
    def index_name(self) -> str:
        """Name of the file that lists all clips."""
        return INDEX_NAME

    def estimate_bytes(self, sample: SampleEntry) -> int:
        """Return how many bytes the clip will take."""
        return sum(m.size_bytes for m in sample.members if m.suffix == "mp4") + _EXTRA_BYTES

    def find_reason_to_skip(self, shard: OpenShard, sample: SampleEntry) -> None:
        """Return None: every clip is exported."""
        return

    def write(self, shard: OpenShard, sample: SampleEntry, target: Target) -> Written:
        """Publish a clip's file.

        Raises:
            ShardIntegrityError: If the shard does not hold a clip, its text and facts.
            ForeignFileError: If something else is at the place.
            DiskSpaceError: If the disk is full.
        """
        info = _describe(shard, sample)
        target.path.parent.mkdir(exist_ok=True)
        return target.publish_file(shard.iter_checked(sample, "mp4"), info=info)

    def encode_index(self, listed: Iterable[Listed], *, folder: Path | None = None) -> bytes:
        """Return `text_video_pairs.json`, one pair a line, by key."""
        pairs = sorted(listed, key=lambda one: one[2].key)
        lines = [_encode_pair(place, exported.info or {}) for place, _, exported in pairs]
        return ("[\n" + ",\n".join(lines) + "\n]\n").encode()

    def read_index(self, content: bytes) -> set[str]:
        """Return the clips that a `text_video_pairs.json` names.

        Raises:
            ValueError: If it is not a list of pairs.
        """
        pairs = parse_json(content)
        if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
            msg = f"{INDEX_NAME}: expected a list of objects"
            raise ValueError(msg)
        return {str(pair.get("clip_path")) for pair in pairs}


def _encode_pair(place: str, info: Mapping[str, Any]) -> str:
    names = ("vid", "clip_path", "transcript", "begin_time", "end_time", "duration", "size")
    return json.dumps(
        {n: place if n == "clip_path" else info[n] for n in names}, ensure_ascii=False
    )


def _describe(shard: OpenShard, sample: SampleEntry) -> dict[str, Any]:
    facts = shard.read_json(sample, "json")
    if not isinstance(facts, dict) or not set(_FIELDS.values()) <= facts.keys():
        what = f"expected the fields {', '.join(_FIELDS.values())} in its json"
        raise shard.complain(sample, what)
    try:
        text = shard.read(sample, "txt").decode()
    except UnicodeDecodeError as error:
        raise shard.complain(sample, "its text is not UTF-8") from error
    return {"transcript": text} | {ours: facts[theirs] for ours, theirs in _FIELDS.items()}
