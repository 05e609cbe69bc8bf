"""Bodies of answers that a proxy compressed on the way, although none was asked to."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2

# Those that the HTTP library decodes without further packages.
_DECODED = frozenset(("gzip", "deflate"))


def iter_stored(
    response: "httpx2.Response", *, num_missing: int, other_way: bool = False
) -> Iterator[bytes]:
    """Yield the bytes of a file as its server stores them.

    `Content-Encoding` may mean that a proxy compressed the answer, or be a remark of a server about a
    file that is stored compressed, such as a `.nii.gz`. The length decides: an answer as long as the
    missing bytes was not compressed.

    Args:
        response: An open answer.
        num_missing: Bytes that were asked for.
        other_way: Take the other meaning, because the bytes were wrong before.

    Raises:
        httpx2.DecodingError: If the body is not compressed as it says.
    """
    coding = find_coding(response)
    is_stored = response.headers.get("content-length") == str(num_missing)
    if coding and is_stored == other_way:
        return response.iter_bytes()
    return response.iter_raw()


def find_coding(response: "httpx2.Response") -> str:
    """Return how an answer says it is compressed; empty if it does not."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    return "" if coding == "identity" else coding


def find_unknown_coding(response: "httpx2.Response", *, num_missing: int) -> str:
    """Return the compression of an answer that cannot be undone here; empty if there is none."""
    if response.headers.get("content-length") == str(num_missing):
        return ""
    codings = (coding.strip() for coding in find_coding(response).split(","))
    return next((coding for coding in codings if coding and coding not in _DECODED), "")
