"""One peer in an environment of its own: mosaicml-streaming pins an old huggingface_hub.

Run by `benchmarks.loaders` with the interpreter that $MEDASSETS_BENCH_STREAMING_PYTHON names;
imports nothing of this project. Install there: `torch==2.13.0 mosaicml-streaming==0.13.0`.
"""

import json
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np


class _Missing(types.ModuleType):
    """Stands for torchvision, which only its picture datasets need and which wants CUDA."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def import_streaming() -> Any:
    """Return the module `streaming`, without torchvision."""
    import transformers.utils  # noqa: F401  # pyright: ignore[reportMissingImports]

    parts = ("", ".datasets", ".transforms", ".transforms.functional")
    sys.modules.update({f"torchvision{p}": _Missing(f"torchvision{p}") for p in parts})
    import streaming  # pyright: ignore[reportMissingImports]

    return streaming


def write(samples: Path, target: Path) -> None:
    """Write `*.bin` as one dataset of MDS shards."""
    streaming = import_streaming()
    columns = {"volume": "bytes", "report": "str"}
    with streaming.MDSWriter(out=str(target), columns=columns, size_limit=1 << 30) as writer:
        for path in sorted(samples.glob("*.bin")):
            writer.write({"volume": path.read_bytes(), "report": "a report"})


def serve(folder: Path) -> None:
    """Read all samples for each line of input; answer with the seconds."""
    streaming = import_streaming()
    dataset = streaming.StreamingDataset(local=str(folder), batch_size=1, shuffle=False)
    for _ in sys.stdin:
        started = time.perf_counter()
        for index in range(len(dataset)):
            np.frombuffer(dataset[index]["volume"], np.float16)
        print(json.dumps({"wall_s": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        serve(Path(sys.argv[2]))
