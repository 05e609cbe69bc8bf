"""The garbage collector is paused inside the block only."""

import gc

import pytest

from medassets.storage.collection import paused_collection


def test_collection_goes_on_after_the_block_and_after_an_error() -> None:
    with paused_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), paused_collection():
        assert 1 // int(gc.isenabled())
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with paused_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
