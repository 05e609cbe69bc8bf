"""Members in memory are read as those of a shard are."""

import pytest

from medassets.errors import ShardIntegrityError
from medassets.loaders.webdatasets.streamed import StreamedReader

MEMBERS = {"__key__": "a", "__url__": "s3://b/x.tar", "bin": b"12345678", "json": b'{"n": 1}'}


def test_members_are_given_whole_and_in_pieces() -> None:
    reader = StreamedReader(MEMBERS)
    assert reader.index.locate(0) is reader.sample
    assert (len(reader), reader.sample.key, len(reader.index)) == (1, "a", 1)
    assert reader.read_start(reader.sample, "bin", 3) == b"123"
    assert reader.read_json(reader.sample, "json") == {"n": 1}
    pieces = [bytearray(3), bytearray(5)]
    reader.fill(reader.sample, "bin", pieces)
    assert b"".join(pieces) == b"12345678"


@pytest.mark.parametrize("sizes", [[3], [9], [4, 9]])
def test_memory_of_another_length_is_an_error_that_names_the_sample(sizes: list[int]) -> None:
    reader = StreamedReader(MEMBERS)
    with pytest.raises(ShardIntegrityError, match=r"s3://b/x.tar: a: member .bin has 8 bytes, "):
        reader.fill(reader.sample, "bin", map(bytearray, sizes))
