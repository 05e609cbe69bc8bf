import hashlib
import zlib
from pathlib import Path

import numpy as np
import pytest

from medassets.storage.checksums import byte_view, canonical_json, crc32, fingerprint, sha256_file


def test_sha256_of_a_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_crc32_is_that_of_zlib_for_any_buffer() -> None:
    array = np.arange(5 * 7 * 11, dtype=np.float16).reshape(5, 7, 11)
    assert crc32(array) == zlib.crc32(array.tobytes())
    assert crc32(b"cd", crc32(b"ab")) == zlib.crc32(b"abcd")
    assert crc32(b"") == 0
    assert crc32(np.empty((0, 3))) == 0


def test_a_buffer_with_gaps_is_refused() -> None:
    with pytest.raises(TypeError, match="contiguous"):
        byte_view(np.zeros((4, 4))[:, ::2])


def test_canonical_json_does_not_depend_on_key_order() -> None:
    assert canonical_json({"b": 1, "a": [None, "ü", 0.1]}) == '{"a":[null,"ü",0.1],"b":1}'.encode()
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_json_does_not_know_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json([value])
