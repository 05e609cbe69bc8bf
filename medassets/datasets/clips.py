"""mp4 clips as samples: written into a shard, and extracted from it to be decoded."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medassets.errors import CatalogError, DamagedTarError, Reason, SampleRejectedError
from medassets.samples import Encoded, EncodedSample, SourceItem, Staged, StagedFile
from medassets.shards.files import read_whole_record
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.storage.checksums import sha256_file
from medassets.storage.paths import DatasetPaths
from medassets.storage.scratch import Scratch, make_scratch, open_scratch
from medassets.tars.reader import open_tar
from medassets.video.catalog.clip_row import ClipRow, move_to_clip

if TYPE_CHECKING:
    from medassets.video.clips.plan import ClipEncoding, ClipFacts
    from medassets.video.processes.pool import DecoderPool


def cut_clips(
    items: Sequence[SourceItem],
    staged: StagedFile,
    *,
    decoder: "DecoderPool",
    encoding: "ClipEncoding",
    fingerprint: Callable[[SourceItem], str],
) -> list[Encoded]:
    """Return the clips of one video as samples: `mp4`, `txt` and `json`.

    Each clip is written to scratch space and verified.

    Args:
        items: Catalog rows of the clips.
        staged: Their video.
        decoder: Decoder processes.
        encoding: How clips are written.
        fingerprint: Returns the fingerprint of a clip's inputs and settings; stored with it.
    """
    made: list[Encoded] = []
    with open_scratch() as scratch:
        for item in items:
            started, row = time.perf_counter(), ClipRow.read(item.row)
            target = scratch / f"{item.key}.mp4"
            try:
                facts = decoder.write_clip(staged.path, row.segment, encoding, target)
            except SampleRejectedError as error:
                made.append(error)
                continue
            sample = _encode(item, row, staged, facts, target, fingerprint(item))
            made.append(replace(sample, seconds={"cut": time.perf_counter() - started}))
            target.unlink()
    return made


def _encode(
    item: SourceItem,
    row: ClipRow,
    staged: StagedFile,
    facts: "ClipFacts",
    clip: Path,
    fingerprint: str,
) -> EncodedSample:
    described = {
        "key": item.key,
        "vid": row.vid,
        "split": item.split,
        "transcript": row.transcript,
        "begin_s": row.begin_ms / 1000,
        "end_s": row.end_ms / 1000,
        "duration_s": (facts.end_ms - facts.begin_ms) / 1000,
        "num_frames": facts.num_frames,
        "num_hidden_frames": facts.num_hidden,
        "scan": facts.scan,
        "crop": facts.crop,
        "width": facts.width,
        "height": facts.height,
        "codec": facts.codec,
        "has_audio": facts.has_audio,
        "size": row.size,
        "source": {"uri": staged.uri, "sha256": staged.sha256, "bytes": staged.num_bytes},
        "fingerprint": fingerprint,
    }
    text = json.dumps(described, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return EncodedSample(
        key=item.key,
        members=(
            ("mp4", clip.read_bytes()),
            ("txt", row.transcript.encode()),
            ("json", text.encode()),
        ),
        facts={
            "vid": row.vid,
            "source_sha256": staged.sha256,
            "duration_ms": facts.end_ms - facts.begin_ms,
            "num_frames": facts.num_frames,
        },
    )


@dataclass(frozen=True)
class ClipShard:
    """One published shard of clips that are extracted as files.

    Attributes:
        paths: Paths of the stage `clips`.
        record: Record of the shard.
        scratch: Takes the files.
    """

    paths: DatasetPaths
    record: ShardRecord
    scratch: Scratch = field(repr=False)

    def place(self, items: Sequence[SourceItem]) -> list[SourceItem]:
        """Return the items with their segments relative to their own clips."""
        samples = {sample.key: sample for sample in self.record.samples}
        return [_inside_clip(item, samples.get(item.key)) for item in items]

    def stage(self, items: Sequence[SourceItem]) -> Mapping[str, Staged]:
        """Return the clips as files, by sample key; rejected clips stay rejected."""
        samples = {sample.key: sample for sample in self.record.samples}
        lost = {r.key: r for r in self.record.rejected}
        staged: dict[str, Staged] = {}
        for item in items:
            if item.key in samples:
                staged[item.key] = self._take_out(samples[item.key])
            else:
                r = lost[item.key]
                staged[item.key] = SampleRejectedError(Reason(r.reason), r.detail)
        return staged

    def release(self, items: Sequence[SourceItem]) -> None:
        """Remove the files."""
        self.scratch.remove()

    def _take_out(self, sample: SampleEntry) -> StagedFile:
        member = next(m for m in sample.members if m.suffix == "mp4")
        try:
            with open_tar(self.paths.shard(self.record.partition)) as tar:
                content = tar.read(member)
        except DamagedTarError as error:
            detail = "the clip in its shard is damaged; build clips again"
            raise SampleRejectedError(Reason.CHECKSUM_MISMATCH, detail) from error
        target = self.scratch.folder / f"{sample.key}.mp4"
        target.write_bytes(content)
        name = f"clips/{self.record.partition}/{sample.key}.mp4"
        return StagedFile(target, f"file:{name}", None, member.size_bytes, sha256_file(target))


def open_clip_shard(paths: DatasetPaths, partition_key: str, fingerprint: str) -> ClipShard:
    """Return a published shard of clips.

    Args:
        paths: Paths of the stage `clips`.
        partition_key: The shard.
        fingerprint: Required plan fingerprint.

    Raises:
        CatalogError: If it is missing, or was made from other inputs or settings.
    """
    record = read_whole_record(paths, partition_key, fingerprint)
    if record is None:
        msg = (
            f"{partition_key}: frames are made from clips, but the shard of clips is missing, damaged "
            f"or out of date; run `medassets build {paths.dataset} --mode clip` first"
        )
        raise CatalogError(msg)
    return ClipShard(paths, record, make_scratch())


def _inside_clip(item: SourceItem, sample: SampleEntry | None) -> SourceItem:
    if sample is None:
        return replace(item, path=f"clips/{item.key}.mp4")
    # A path per clip, since the clips of one video are separate files here.
    row = move_to_clip(item.row, int(sample.facts["duration_ms"]))
    return replace(item, path=f"clips/{item.key}.mp4", row=row)
