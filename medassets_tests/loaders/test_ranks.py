"""Rank of this process: as given, of the process group, or of torchrun."""

from pathlib import Path

import pytest
import torch.distributed

from medassets.loaders import Loader
from medassets.loaders.ranks import Place, find_place
from medassets_tests.loaders.loader_data import Numbers


def test_ranks_of_torchrun_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    early = Loader(Numbers(4), num_workers=0, collate_fn=list)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(Loader(Numbers(4), num_workers=0, collate_fn=list)) == [[1], [3]]
    with pytest.raises(RuntimeError, match=r"built as rank 0 of 1, but .* rank 1 of 2"):
        iter(early)


def test_ranks_that_are_given_win_over_those_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert find_place(None, None) == Place(1, 2)
    place = find_place(4, 5)
    assert place == Place(4, 5, given=True)
    place.check_still()


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE"])
def test_half_of_the_variables_of_torchrun_is_no_job(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv(missing)
    assert find_place(None, None) == Place(0, 1)


def test_a_process_group_wins_over_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    early = find_place(None, None)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        assert find_place(None, None) == Place(0, 1)
        with pytest.raises(RuntimeError, match="built as rank 1 of 2, but this process is rank 0"):
            early.check_still()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("rank", "world_size", "match"),
    [
        (0, None, "expected both or neither, got rank = 0, world_size = None"),
        (None, 2, "expected both or neither, got rank = None, world_size = 2"),
        (2, 2, "rank: expected 0 to 1 of world_size = 2, got 2"),
        (-1, 2, "rank: expected 0 to 1 of world_size = 2, got -1"),
        (0, 0, "rank: expected 0 to -1 of world_size = 0, got 0"),
    ],
)
def test_a_rank_that_no_job_has_is_refused(
    rank: int | None, world_size: int | None, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        find_place(rank, world_size)
