"""Lightning's loop: its epochs are the loader's, and a checkpoint continues where it was written."""

import gc
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def training() -> Iterator[ModuleType]:
    """Import Lightning in the process that runs a test, and free its trainers after each test.

    Its import takes seconds, in every process that collects tests. Trainers hold themselves, and the
    loaders with them.
    """
    from medassets_tests.loaders import lightning_training

    yield lightning_training
    gc.collect()


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
    tmp_path: Path,
    training: ModuleType,
    kept: dict[str, int],
    limit: dict[str, int],
    validate: bool,
    num_workers: int,
) -> None:
    whole = training.plan_whole()
    model = training.fit(
        num_workers, validate=validate, **limit, **training.keep_checkpoints(tmp_path, **kept)
    )
    assert model.seen == whole
    found = sorted(tmp_path.glob("*.ckpt"))
    assert len(found) == (training.NUM_EPOCHS if "every_n_epochs" in kept else len(whole))
    for path in found:
        step = int(path.stem.split("=")[1])
        resumed = training.fit(num_workers, validate=validate, ckpt=path, **limit)
        assert [ids for _, ids in resumed.seen] == [ids for _, ids in whole[step:]], step


def test_an_epoch_that_lightning_cuts_short_is_followed_by_the_next(training: ModuleType) -> None:
    seen = training.fit(2, max_epochs=3, limit_train_batches=2).seen
    assert seen == [
        one for n, one in enumerate(training.plan_whole()) if n % training.NUM_BATCHES < 2
    ]


def test_every_validation_of_lightning_sees_all_samples(training: ModuleType) -> None:
    model = training.fit(
        2, validate=True, max_epochs=2, val_check_interval=1, num_sanity_val_steps=-1
    )
    assert model.validated == [[0, 1], [2, 3], [4, 5]] * (1 + 2 * training.NUM_BATCHES)


def test_lightning_can_overfit_on_few_batches(training: ModuleType) -> None:
    seen = training.fit(2, max_epochs=2, overfit_batches=1).seen
    assert [epoch for epoch, _ in seen] == [0, 1]
