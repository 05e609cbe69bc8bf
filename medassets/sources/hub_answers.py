"""Answers of a hub: bounded in size and time, and whatever is wrong with them is an error of ours.

A hub, or who poses as one, may send an answer that never ends, that inflates without end, or that no
parser takes. Its errors are parsed by the client library, which is no better prepared.
"""

import json
import time
from typing import TYPE_CHECKING, Any

from medassets.errors import HubAnswerError
from medassets.storage.foreign_bytes import Boundary

if TYPE_CHECKING:
    import httpx2

_MOST_BYTES = 1 << 26
# Messages of errors are cut to a line.
_MOST_ERROR_BYTES = 1 << 16
_CHANGED_BY_READING = frozenset(("content-encoding", "content-length", "transfer-encoding"))


def parse_answer(response: "httpx2.Response", *, timeout_s: float) -> Any:
    """Return the JSON of a streamed answer of a hub's API.

    Args:
        response: The answer, not read yet.
        timeout_s: Longest time until its last byte, in seconds.

    Raises:
        HfHubHTTPError: If it is the answer of an error.
        HubAnswerError: If it is too long, takes too long, or is not JSON.
    """
    check_status(response, timeout_s=timeout_s)
    content = _read(response, most_bytes=_MOST_BYTES, timeout_s=timeout_s)
    if len(content) > _MOST_BYTES:
        msg = f"the answer is longer than {_MOST_BYTES:,} bytes; is this the API of a hub?"
        raise HubAnswerError(msg, is_permanent=True)
    words = "the answer is not JSON; is a proxy or a login page in between?"
    # A page in between is no JSON at all; what is nested too deep comes again.
    passing = (json.JSONDecodeError, UnicodeDecodeError)
    with Boundary(
        lambda error, _: HubAnswerError(words, is_permanent=not isinstance(error, passing))
    ):
        return json.loads(content)


def check_status(response: "httpx2.Response", *, timeout_s: float) -> None:
    """Raise the error that a streamed answer states, of which only the beginning is read.

    Args:
        response: The answer, not read yet.
        timeout_s: Longest time for its beginning, in seconds.

    Raises:
        HfHubHTTPError: If it is the answer of an error.
        HubAnswerError: If the client library cannot read that.
    """
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import hf_raise_for_status

    if not response.is_error:
        return
    content = _read(response, most_bytes=_MOST_ERROR_BYTES, timeout_s=timeout_s)
    stated = f"HTTP {response.status_code}, with a text that cannot be read"
    with Boundary(lambda _, __: HubAnswerError(stated)):
        try:
            hf_raise_for_status(_with_content(response, content[:_MOST_ERROR_BYTES]))
        except HfHubHTTPError as error:
            found = error
        else:
            return
    raise found


def _read(response: "httpx2.Response", *, most_bytes: int, timeout_s: float) -> bytes:
    """Return the body up to the first piece beyond a limit."""
    end = time.monotonic() + timeout_s
    content = bytearray()
    for piece in response.iter_bytes():
        content += piece
        if len(content) > most_bytes:
            break
        if time.monotonic() > end:
            msg = f"the answer did not end within {timeout_s:g} s"
            raise HubAnswerError(msg)
    return bytes(content)


def _with_content(response: "httpx2.Response", content: bytes) -> "httpx2.Response":
    """Return the same answer as if it had been read."""
    import httpx2

    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in _CHANGED_BY_READING
    ]
    return httpx2.Response(
        response.status_code,
        headers=headers,
        content=content,
        request=response.request,
        history=response.history,
    )
