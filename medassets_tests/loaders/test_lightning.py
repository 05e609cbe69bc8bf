"""Lightning's loop: its epochs are the loader's, and a checkpoint goes on where it was written."""

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import Dataset

from medassets.loaders import Loader

NUM_BATCHES, NUM_EPOCHS = 3, 3

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _no_trainer_left() -> Iterator[None]:
    """Free trainers, which hold themselves, and the loaders with them."""
    yield
    gc.collect()


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


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize(
    ("kept", "limit"),
    [
        ({"every_n_train_steps": 1}, {"max_epochs": 3}),
        ({"every_n_train_steps": 1}, {"max_epochs": 3, "max_steps": 9}),
        # Not with max_steps: Lightning then cuts the next epoch short, whatever the loader.
        ({"every_n_epochs": 1}, {"max_epochs": 3}),
    ],
    ids=str,
)
def test_a_checkpoint_of_lightning_goes_on_with_the_next_batch(
    tmp_path: Path, kept: dict[str, int], limit: dict[str, int], validate: bool, num_workers: int
) -> None:
    whole = plan_whole()
    model = fit(num_workers, validate=validate, **limit, **keep_checkpoints(tmp_path, **kept))
    assert model.seen == whole
    found = sorted(tmp_path.glob("*.ckpt"))
    assert len(found) == (NUM_EPOCHS if "every_n_epochs" in kept else len(whole))
    for path in found:
        step = int(path.stem.split("=")[1])
        resumed = fit(num_workers, validate=validate, ckpt=path, **limit)
        assert [ids for _, ids in resumed.seen] == [ids for _, ids in whole[step:]], step


def test_an_epoch_that_lightning_cuts_short_is_followed_by_the_next() -> None:
    seen = fit(2, max_epochs=3, limit_train_batches=2).seen
    assert seen == [one for n, one in enumerate(plan_whole()) if n % NUM_BATCHES < 2]


def test_every_validation_of_lightning_sees_all_samples() -> None:
    model = fit(2, validate=True, max_epochs=2, val_check_interval=1, num_sanity_val_steps=-1)
    assert model.validated == [[0, 1], [2, 3], [4, 5]] * (1 + 2 * NUM_BATCHES)


def test_lightning_can_overfit_on_few_batches() -> None:
    seen = fit(2, max_epochs=2, overfit_batches=1).seen
    assert [epoch for epoch, _ in seen] == [0, 1]
