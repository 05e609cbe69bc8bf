"""What would stop every shard of a build, found before the first one is begun."""

from collections.abc import Iterable

from medassets.datasets.kind import DatasetKind
from medassets.datasets.video import VideoClips, VideoFrames, clip_encoding


def check_ready(kinds: Iterable[DatasetKind], *, device: str = "") -> None:
    """Reject a build that this machine cannot do as declared.

    Args:
        kinds: The stages that are to be made.
        device: What decodes videos; only `cuda` can be missing.

    Raises:
        SpecError: If the tokenizer cannot be opened, or the encoder of clips is not there.
        DecoderUnavailableError: If frames are to be decoded on a GPU, and there is no GPU.
    """
    kinds = list(kinds)
    frames = [kind for kind in kinds if isinstance(kind, VideoFrames)]
    encodings = [clip_encoding(kind.spec) for kind in kinds if isinstance(kind, VideoClips)]
    encodings = [encoding for encoding in encodings if encoding.mode == "reencode"]
    for kind in frames:
        from medassets.video.tokens import open_tokenizer

        open_tokenizer(kind.spec.tokenizer)
    if encodings or (frames and device == "cuda"):
        from medassets.video.processes.pool import DecoderPool

        with DecoderPool("cuda" if device == "cuda" else "cpu", num_workers=1) as pool:
            if frames:
                pool.check_device()
            for encoding in encodings:
                pool.check_encoder(encoding)
