"""Samples on their way from a source to a shard."""

from pathlib import Path

import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import EncodedSample, SourceItem, StagedFile, each_item

STAGED = StagedFile(Path("/a.npz"), "a.npz", None, num_bytes=1, sha256="00")
ITEMS = [SourceItem(key, "train", "a.npz", None, {}) for key in ("a", "b", "c")]


def test_a_rejection_is_the_result_of_its_own_item_only() -> None:
    def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
        assert staged is STAGED
        if item.key == "b":
            raise SampleRejectedError(Reason.BAD_RECORD, "b has no report")
        return EncodedSample(item.key, (("txt", item.key.encode()),))

    first, second, third = each_item(encode)(ITEMS, STAGED)
    assert isinstance(first, EncodedSample)
    assert isinstance(third, EncodedSample)
    assert (first.key, third.key) == ("a", "c")
    assert isinstance(second, SampleRejectedError)
    assert second.reason == Reason.BAD_RECORD


def test_an_error_that_is_no_rejection_ends_the_encoding() -> None:
    def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
        raise ZeroDivisionError(item.key)

    with pytest.raises(ZeroDivisionError, match="a"):
        each_item(encode)(ITEMS, STAGED)


def test_samples_are_compared_by_content_and_not_by_who_owns_their_buffers() -> None:
    released: list[str] = []
    owned = EncodedSample("a", (("txt", b"a"),))
    lent = EncodedSample("a", (("txt", b"a"),), release=lambda: released.append("a"))
    assert owned == lent
    owned.release()
    lent.release()
    assert released == ["a"]
