"""Failures of requests to a hub, and whether a retry can help."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from medassets.errors import (
    MedassetsError,
    RevisionGoneError,
    SourceAccessError,
    SourceUnavailableError,
)
from medassets.storage.paths import show_path

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

_QUERY = re.compile(r"\?[^\s'\"<>]*")
_LONGEST_TEXT = 300


class FailureKind(StrEnum):
    """Kind of a failed request, which determines whether it is retried."""

    ACCESS = "access"
    MISSING_REVISION = "missing_revision"
    MISSING_FILE = "missing_file"
    REFUSED = "refused"
    BUSY = "busy"
    BROKEN = "broken"
    UNREACHED = "unreached"
    WRONG_BYTES = "wrong_bytes"


RETRYABLE = frozenset(
    {FailureKind.BUSY, FailureKind.BROKEN, FailureKind.UNREACHED, FailureKind.WRONG_BYTES}
)


@dataclass(frozen=True)
class Failure:
    """One failed attempt, with a message without secrets.

    Attributes:
        kind: What to do about it.
        message: One sentence for a person.
        retry_after_s: Pause the hub asked for, in seconds.
    """

    kind: FailureKind
    message: str
    retry_after_s: float | None = None

    def to_error(self) -> MedassetsError:
        """Return the error to raise after the last attempt."""
        if self.kind is FailureKind.ACCESS:
            return SourceAccessError(self.message)
        if self.kind is FailureKind.MISSING_REVISION:
            return RevisionGoneError(self.message)
        return SourceUnavailableError(self.message)


@dataclass(frozen=True)
class Caller:
    """Repository and login of a request, for error messages with a remedy.

    Attributes:
        repo_id: Dataset that was asked for.
        endpoint: Base URL of the hub.
        has_token: Whether a token was sent.
    """

    repo_id: str
    endpoint: str
    has_token: bool

    @property
    def page(self) -> str:
        """Page of the dataset on which users request access."""
        return f"{self.endpoint}/datasets/{self.repo_id}"

    @property
    def token_hint(self) -> str:
        """Remedy that depends on whether a token was sent."""
        if self.has_token:
            return "the token that was sent (HF_TOKEN or the stored login) may not read it"
        return "no token was sent: set HF_TOKEN to a token of an account that may read it"


def clean_text(text: str, *, secret: str = "") -> str:
    """Return text on one short line, without the token and query strings of signed links."""
    if secret:
        text = text.replace(secret, "<token>")
    text = show_path(" ".join(_QUERY.sub("", text).split()))
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the pause that a hub requests, in s; None if it requests none.

    Args:
        headers: Response headers, looked up in lower case.

    Source: RFC 9110 10.2.3 (seconds or a date); draft-ietf-httpapi-ratelimit-headers-09, as the
    Hugging Face Hub sends it (`ratelimit: "api";r=0;t=55`).
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", value):
        return float(value)
    if value:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ArithmeticError, LookupError, TypeError, ValueError):
            # The parser of dates raises these for what is none.
            return None
    limit = re.search(r";\s*r=0\s*;\s*t=(\d{1,9})", headers.get("ratelimit", ""))
    return float(limit[1]) if limit else None


def explain_http_error(error: "HfHubHTTPError", caller: Caller, *, secret: str) -> Failure:
    """Convert an error response into a failure; gated, bad token and missing repository differ."""
    status = error.response.status_code
    said = clean_text(f"HTTP {status}. {error.server_message or ''}", secret=secret).rstrip(". ")
    if _is_missing_revision(error):
        return Failure(FailureKind.MISSING_REVISION, _explain_missing_revision(caller, said))
    access = _explain_redirect(error, caller, said) or _explain_refusal(error, caller, said)
    if access is not None:
        return Failure(FailureKind.ACCESS, access)
    where = clean_text(str(error.response.url), secret=secret)
    if status in (404, 410):
        return Failure(FailureKind.MISSING_FILE, f"{where} does not exist ({said})")
    pause = read_retry_after(error.response.headers)
    if status == 429:
        return Failure(FailureKind.BUSY, f"{where} asks to slow down ({said})", pause)
    if status in (401, 403, 408, 425) or status >= 500:
        # A 401 or 403 here is not from the hub's API: a signed link to its storage has expired.
        return Failure(FailureKind.BROKEN, f"{where} failed ({said})", pause)
    return Failure(
        FailureKind.REFUSED, f"{where} gave an answer that no retry can correct ({said})"
    )


def _explain_redirect(error: "HfHubHTTPError", caller: Caller, said: str) -> str | None:
    """Say that another host refused access because the token was not sent there."""
    response = error.response
    if not caller.has_token or "authorization" in response.request.headers:
        return None
    target = _origin_of(str(response.url))
    # A file's storage is on another host, too, and its links carry a signature of their own.
    is_moved = any(answer.status_code in (301, 308) for answer in response.history)
    is_hub = urlsplit(str(response.url)).path.startswith("/api/") or is_moved
    if response.status_code not in (401, 403, 404) or not is_hub or not response.history:
        return None
    return (
        f"dataset {caller.repo_id}: {caller.endpoint} redirects to {target}, and a token is never sent "
        f"to another host, so it was dropped ({said}). If you trust that host, name it: set "
        f"HF_ENDPOINT, or `endpoint` of the declaration, to {target}"
    )


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _is_missing_revision(error: "HfHubHTTPError") -> bool:
    from huggingface_hub.errors import RevisionNotFoundError

    return isinstance(error, RevisionNotFoundError)


def _explain_missing_revision(caller: Caller, said: str) -> str:
    return (
        f"dataset {caller.repo_id} does not have this revision: see {caller.page}/commits ({said}). "
        f"If its history was squashed or moved, refresh the catalog at a revision that exists "
        f"(`revision` of the declaration, or `medassets build --revision`): shards that were never "
        f"built follow it, and built shards stay"
    )


def _explain_refusal(error: "HfHubHTTPError", caller: Caller, said: str) -> str | None:
    from huggingface_hub.errors import (
        DisabledRepoError,
        GatedRepoError,
        RepositoryNotFoundError,
    )

    repo, page, hint = caller.repo_id, caller.page, caller.token_hint
    # GatedRepoError is a RepositoryNotFoundError too, so it is checked first.
    if isinstance(error, GatedRepoError):
        return f"dataset {repo} is gated: ask for access at {page}; {hint} ({said})"
    if isinstance(error, RepositoryNotFoundError):
        return f"dataset {repo} does not exist at {page}, or it is private and {hint} ({said})"
    if isinstance(error, DisabledRepoError):
        return f"dataset {repo} is disabled by the hub: see {page} ({said})"
    status = error.response.status_code
    if status not in (401, 403) or not _is_same_origin(str(error.response.url), caller.endpoint):
        return None
    if status == 401:
        new = f"{caller.endpoint}/settings/tokens"
        return (
            f"the hub does not accept the login for dataset {repo} ({page}): HF_TOKEN is wrong or "
            f"expired, make a new one at {new} ({said})"
        )
    return f"the hub forbids reading dataset {repo} ({page}): {hint} ({said})"


def _is_same_origin(url: str, endpoint: str) -> bool:
    return url == endpoint or url.startswith(endpoint.rstrip("/") + "/")
