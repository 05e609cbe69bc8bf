"""Single requests to a hub: timeouts, rate limit, and errors without secrets."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from medassets.errors import HubAnswerError, SourceAccessError
from medassets.sources.hub_answers import check_status, parse_answer
from medassets.sources.hub_errors import (
    Caller,
    Failure,
    FailureKind,
    clean_text,
    explain_http_error,
)
from medassets.sources.proxies import find_proxy
from medassets.sources.rate_limit import RateLimiter, shared_limiter
from medassets.sources.retries import Attempts, HubPolicy
from medassets.sources.stopping import stoppable
from medassets.storage.foreign_bytes import Boundary
from medassets.version import __version__

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import RepoFile

T = TypeVar("T")

_DEFAULT_ENDPOINT = "https://huggingface.co"
_TOKEN = re.compile(r"[\x21-\x7e]+")


def prepare_client_library() -> None:
    """Set environment variables that the client library reads on import; a user's setting is kept.

    Its telemetry asks the hub for more than we need, and its Xet transfer leaves HTTP for a path
    that knows neither our checks nor our resume.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")


@dataclass(frozen=True)
class HubClient:
    """One dataset repository on one hub.

    Attributes:
        repo_id: `<org>/<name>`.
        chosen_endpoint: Base URL; None means $HF_ENDPOINT or the public hub.
        token: Token; None means $HF_TOKEN or the stored login, False means none.
        policy: Timeouts and patience.
    """

    repo_id: str
    chosen_endpoint: str | None = None
    token: str | bool | None = field(default=None, repr=False)
    policy: HubPolicy = field(default_factory=HubPolicy)

    @property
    def endpoint(self) -> str:
        """Base URL of the hub, without a trailing slash."""
        chosen = self.chosen_endpoint or os.environ.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT
        return chosen.rstrip("/")

    @property
    def limiter(self) -> RateLimiter:
        """Rate limiter of this hub."""
        return shared_limiter(self.endpoint)

    def headers(self) -> dict[str, str]:
        """Return the headers of a request, including the token.

        Raises:
            SourceAccessError: If the token cannot be part of a header, or one is required and
                there is none.
        """
        prepare_client_library()
        from huggingface_hub.errors import LocalTokenNotFoundError
        from huggingface_hub.utils import build_hf_headers

        token = self.token.strip() or None if isinstance(self.token, str) else self.token
        try:
            headers = build_hf_headers(
                token=token, library_name="medassets", library_version=__version__
            )
        except LocalTokenNotFoundError:
            headers = None
        if headers is None:
            msg = f"dataset {self.repo_id}: a token is required and there is none; set HF_TOKEN"
            raise SourceAccessError(msg)
        # The HTTP library would print an unusable header value, token and all, in its error.
        if not _TOKEN.fullmatch(_secret_of(headers) or "-"):
            msg = f"dataset {self.repo_id}: HF_TOKEN holds a character that no token has"
            raise SourceAccessError(msg)
        return headers

    def attempt(self, work: Callable[[dict[str, str]], T]) -> T | Failure:
        """Run one request; a failure is returned as a value.

        The errors of the client library hold the request with its token, so none of them may be
        the cause or context of an error of ours.

        Args:
            work: Gets the headers to send, sends one request and uses its answer.
        """
        headers = self.headers()
        import httpx2
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            OfflineModeIsEnabled,
        )

        secret = _secret_of(headers)
        try:
            result = work(headers)
            self.limiter.reached = True
            return result
        except HfHubHTTPError as error:
            self.limiter.reached = True
            caller = Caller(self.repo_id, self.endpoint, has_token=bool(secret))
            return explain_http_error(error, caller, secret=secret)
        except httpx2.TimeoutException as error:
            words = f"no byte for {self.policy.stall_timeout_s:g} s ({type(error).__name__})"
            return Failure(FailureKind.BROKEN, f"{self.endpoint}: {words}{self._name_proxy()}")
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            words = clean_text(f"{type(error).__name__}: {error}", secret=secret)
            if _is_of_address(error):
                where = "the address, or one that it redirects to, cannot be used"
                return Failure(FailureKind.REFUSED, f"{self.endpoint}: {where} ({words})")
            unreached = isinstance(error, httpx2.ConnectError)
            kind = FailureKind.UNREACHED if unreached else FailureKind.BROKEN
            failed = f"connection failed ({words}){self._name_proxy()}"
            return Failure(kind, f"{self.endpoint}: {failed}")
        except HFValidationError:
            words = f"repo_id: {self.repo_id!r} is not the name of a dataset on a hub"
            return Failure(FailureKind.REFUSED, words)
        except OfflineModeIsEnabled:
            return Failure(
                FailureKind.REFUSED, f"{self.endpoint} is not asked: HF_HUB_OFFLINE is set"
            )
        except HubAnswerError as error:
            kind = FailureKind.REFUSED if error.is_permanent else FailureKind.BROKEN
            return Failure(kind, f"{self.endpoint}: {error}")

    def call(self, work: Callable[[dict[str, str]], T], *, what: str) -> T:
        """Run a small request until it succeeds.

        Args:
            work: Gets the headers to send, sends one request and returns what it wants of the
                answer.
            what: What is asked for, as messages say it.

        Raises:
            SourceAccessError: If the hub refuses access.
            SourceUnavailableError: If the hub does not answer, however often it is asked.
        """
        attempts = Attempts(self.policy, self.limiter, what=what)
        while True:
            attempts.wait_for_turn()
            result = self.attempt(work)
            if not isinstance(result, Failure):
                return result
            attempts.wait_after(result)

    def read_commit(self, revision: str) -> str:
        """Return the commit sha of a branch, tag or commit.

        Raises:
            SourceAccessError: If the hub refuses access, or knows no such repository or revision.
            SourceUnavailableError: If the hub does not answer, however often it is asked.
        """
        url = f"{self.endpoint}/api/datasets/{self.repo_id}/revision/{quote(revision, safe='')}"

        def work(headers: dict[str, str]) -> Any:
            # Without `expand`, the answer lists every file of the repository.
            with self._stream("GET", url, headers, params={"expand": "sha"}) as response:
                return parse_answer(response, timeout_s=self.policy.answer_timeout_s)

        what = f"revision {revision} of dataset {self.repo_id}"
        answer = self.call(work, what=what)
        sha = answer.get("sha") if isinstance(answer, dict) else None
        if not isinstance(sha, str) or not re.fullmatch(r"[0-9a-f]{40}", sha):
            raise Failure(FailureKind.REFUSED, f"{what}: {url} names no commit").to_error()
        return sha

    def read_paths_info(self, paths: Sequence[str], *, revision: str) -> "list[RepoFile]":
        """Return the hub's facts of files; missing files and folders are left out.

        The client's own `get_paths_info` takes no timeout, so its request is sent from here.

        Raises:
            SourceAccessError: If the hub refuses access, or knows no such repository or revision.
            SourceUnavailableError: If the hub does not answer, however often it is asked.
        """
        url = f"{self.endpoint}/api/datasets/{self.repo_id}/paths-info/{quote(revision, safe='')}"

        asked = {"paths": list(paths), "expand": False}

        def work(headers: dict[str, str]) -> Any:
            with self._stream("POST", url, headers, data=asked) as response:
                return parse_answer(response, timeout_s=self.policy.answer_timeout_s)

        rows = self.call(work, what=f"sizes of {len(paths)} files of dataset {self.repo_id}")
        return self._parse_files(rows, url)

    def read_tree(self, folder: str, *, revision: str) -> "list[RepoFile]":
        """Return the hub's facts of all files below a folder, in pages of about a thousand.

        Raises:
            SourceAccessError: If the hub refuses access, or knows no such repository or revision.
            SourceUnavailableError: If it has no such folder, does not answer, or its pages never end.
        """
        at = quote(revision, safe="")
        url = f"{self.endpoint}/api/datasets/{self.repo_id}/tree/{at}/{quote(folder)}".rstrip("/")
        what = f"files of dataset {self.repo_id}" + (f" below {folder}" if folder else "")
        params: dict[str, str] | None = {"recursive": "true", "expand": "false"}
        found: list[RepoFile] = []
        seen: set[str] = set()
        while url:
            if url in seen or not url.startswith(f"{self.endpoint}/"):
                # The token is sent along, and a loop would never end.
                words = f"{what}: the next page, {clean_text(url)}, is on another host or was read"
                raise Failure(FailureKind.REFUSED, words).to_error()
            seen.add(url)
            rows, after = self.call(lambda h, u=url, p=params: self._read_page(u, p, h), what=what)
            found += self._parse_files(rows, url)
            url, params = after, None
        return found

    def _read_page(
        self, url: str, params: dict[str, str] | None, headers: dict[str, str]
    ) -> tuple[Any, str]:
        """Return the rows of one page, and the address of the next; empty after the last."""
        with self._stream("GET", url, headers, params=params) as response:
            rows = parse_answer(response, timeout_s=self.policy.answer_timeout_s)
            return rows, str(response.links.get("next", {}).get("url", ""))

    def _parse_files(self, rows: Any, url: str) -> "list[RepoFile]":
        from huggingface_hub import RepoFile

        failure = Failure(FailureKind.REFUSED, f"{url}: the answer is not a list of files")
        with Boundary(lambda _, __: failure.to_error()):
            return [RepoFile(**row) for row in rows if row["type"] == "file"]

    @contextlib.contextmanager
    def open_file(
        self, path: str, *, revision: str, offset: int, headers: dict[str, str]
    ) -> Iterator["httpx2.Response"]:
        """Open the bytes of a file from an offset; for use inside `attempt`.

        Yields:
            An answer with status 200 (whole file), 206 or 416.
        """
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(
            self.repo_id, path, repo_type="dataset", revision=revision, endpoint=self.endpoint
        )
        headers = {**headers, "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with self._stream("GET", url, headers) as response:
            if response.status_code != 416:
                check_status(response, timeout_s=self.policy.answer_timeout_s)
            yield response

    @contextlib.contextmanager
    def _stream(
        self, method: str, url: str, headers: dict[str, str], **options: Any
    ) -> "Iterator[httpx2.Response]":
        """Send a request; the answer is not read yet."""
        from huggingface_hub.utils import get_session

        with (
            get_session().stream(
                method,
                url,
                headers=headers,
                timeout=self._timeout(),
                follow_redirects=True,
                **options,
            ) as response,
            stoppable(response),
        ):
            yield response

    def _name_proxy(self) -> str:
        proxy = find_proxy(self.endpoint)
        return f"; the way leads through the proxy {proxy}: is it the right one?" if proxy else ""

    def _timeout(self) -> "httpx2.Timeout":
        import httpx2

        return httpx2.Timeout(self.policy.stall_timeout_s, connect=self.policy.connect_timeout_s)


def _is_of_address(error: Exception) -> bool:
    """Tell whether an error is of an address, such as a redirect to `file://`: no retry corrects it."""
    import httpx2

    kinds = (
        httpx2.InvalidURL,
        httpx2.LocalProtocolError,
        httpx2.TooManyRedirects,
        httpx2.UnsupportedProtocol,
    )
    return isinstance(error, kinds) or isinstance(error.__context__, httpx2.InvalidURL)


def _secret_of(headers: dict[str, str]) -> str:
    return headers.get("authorization", "").removeprefix("Bearer ")
