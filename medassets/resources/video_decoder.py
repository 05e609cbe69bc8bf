"""Decoder processes of a run: started by the first asset that needs them, ended with the run."""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

if TYPE_CHECKING:
    from medassets.video.processes.pool import DecoderPool


class VideoDecoderResource(dg.ConfigurableResource):
    """Starts the processes that decode videos; all stages of a run share them.

    Attributes:
        device: `auto` uses GPUs if their frames are correct, `cpu` no GPU, `cuda` only GPUs.
        gpu_ids: GPUs to use, by their CUDA index; empty uses all.
        workers_per_gpu: Processes for each GPU.
        num_workers: Processes when the CPU decodes; 0 means one per core.
        timeout_s: A decoder that does not respond for this long is ended, in seconds.
    """

    device: str = "auto"
    gpu_ids: list[int] = Field(default_factory=list)
    workers_per_gpu: int = 2
    num_workers: int = 0
    timeout_s: float = 30.0

    _pool: "DecoderPool | None" = PrivateAttr(default=None)

    @property
    def pool(self) -> "DecoderPool":
        """The pool of this run; processes start when it is first used.

        The IO manager writes shards after the asset has returned, so the pool is closed with the
        run, not by the asset.
        """
        if self._pool is None or self._pool.is_closed:
            self._pool = self.open()
        return self._pool

    def open(self) -> "DecoderPool":
        """Return a new pool for use outside a run; the caller closes it.

        Raises:
            SpecError: If a field is out of range; the message names it.
        """
        from medassets.video.processes.pool import DecoderPool

        return DecoderPool(
            self.device,  # pyright: ignore[reportArgumentType]  # checked there
            gpu_ids=self.gpu_ids,
            workers_per_gpu=self.workers_per_gpu,
            num_workers=self.num_workers,
            timeout_s=self.timeout_s,
        )

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End the processes with the run."""
        if self._pool is not None:
            self._pool.close()
