"""A model that Lightning trains, on samples that are their own index."""

import logging
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import Dataset

from medassets.loaders import Loader

NUM_BATCHES, NUM_EPOCHS = 3, 3


class Items(Dataset[torch.Tensor]):
    """Samples that are their own index."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([float(index)])


class Recorder(lightning.LightningModule):
    """A model that remembers what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[tuple[int, list[float]]] = []
        self.validated: list[list[float]] = []

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch.flatten().tolist()))
        return self.layer(batch).sum()

    def validation_step(self, batch: torch.Tensor, _: int) -> None:
        self.validated.append(batch.flatten().tolist())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-9)


def make_loader(num_workers: int, **arguments: Any) -> Loader:
    return Loader(Items(), batch_size=2, num_workers=num_workers, **arguments)


def fit(
    num_workers: int, *, validate: bool = False, ckpt: Path | None = None, **arguments: Any
) -> Any:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    chosen: dict[str, Any] = {"enable_checkpointing": False, **arguments}
    trainer = lightning.Trainer(
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        **chosen,
    )
    model = Recorder()
    loaders: dict[str, Any] = {"train_dataloaders": make_loader(num_workers, shuffle=True)}
    if validate:
        loaders["val_dataloaders"] = make_loader(num_workers)
    trainer.fit(model, **loaders, ckpt_path=ckpt)
    return model


def keep_checkpoints(folder: Path, **arguments: Any) -> dict[str, Any]:
    callback = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, **arguments)
    return {"enable_checkpointing": True, "callbacks": [callback]}


def plan_whole() -> list[tuple[int, list[float]]]:
    order = make_loader(0, shuffle=True).order
    epochs = range(NUM_EPOCHS)
    return [(e, [float(n) for n in batch]) for e in epochs for batch in order.plan_batches(e, 0)]
