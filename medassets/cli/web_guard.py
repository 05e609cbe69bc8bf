"""Keeps web pages of other sites from driving the Dagster UI of this machine.

Dagster's webserver has no login, answers under any host name and executes a mutation that comes
as a GET, which any page in the user's browser can send with an `<img>`. Whoever can open a
connection to the port can still do everything: this guards the browser, not the machine.
"""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

# Any port: `ssh -L 8080:127.0.0.1:3000` is the documented way in, and no rebinding can use these.
_OWN_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
# What a page cannot send to another site without a preflight, which the server does not answer.
_GRAPHQL_TYPES = frozenset({"application/json", "application/graphql"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def find_refusal(connection: HTTPConnection, *, is_remote: bool = False) -> str | None:
    """Return why a request or websocket is refused, None when it may pass.

    Args:
        connection: Headers, path and query of the request; the body is not read.
        is_remote: Whether other machines may connect.
    """
    return (
        _foreign_host(connection, is_remote=is_remote)
        or _foreign_origin(connection)
        or _foreign_embedding(connection)
        or _mutation_in_url(connection)
        or _untyped_post(connection)
    )


def carries_only_queries(document: str) -> bool:
    """Tell whether a GraphQL document can change nothing, whichever operation is chosen.

    A document that does not parse changes nothing either: the server's parser is the same one.
    """
    try:
        definitions = parse(document).definitions
    except GraphQLError:
        return True
    operations = (node for node in definitions if isinstance(node, OperationDefinitionNode))
    return all(node.operation is OperationType.QUERY for node in operations)


def _foreign_host(connection: HTTPConnection, *, is_remote: bool) -> str | None:
    hosts = connection.headers.getlist("host")
    name = _host_name(hosts[0]) if len(hosts) == 1 else None
    if name in _OWN_HOSTS or (is_remote and name is not None and _is_of_this_machine(name)):
        return None
    known = ", ".join(sorted(_OWN_HOSTS))
    return f"the request names host {hosts}; this server answers to {known} only"


def _is_of_this_machine(name: str) -> bool:
    """Tell whether a name is the machine's own, or an address, which no rebinding can use."""
    if name in (socket.gethostname().lower(), socket.getfqdn().lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _host_name(host: str) -> str | None:
    try:
        parts = urlsplit(f"//{host}")
        return parts.hostname if parts.netloc == host and "@" not in host else None
    except ValueError:
        return None


def _foreign_origin(connection: HTTPConnection) -> str | None:
    host = connection.headers.get("host", "").lower()
    origins = [origin.lower() for origin in connection.headers.getlist("origin")]
    if all(origin in (f"http://{host}", f"https://{host}") for origin in origins):
        return None
    return f"the request was made by a page of {origins}, not by this server's own"


def _foreign_embedding(connection: HTTPConnection) -> str | None:
    """Refuse images, scripts, frames and fetches of other sites; a link to the UI may be followed.

    Source: W3C Fetch Metadata Request Headers, section 2; browsers send them since 2020 to 2023.
    """
    headers = connection.headers
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return None
    navigates = headers.get("sec-fetch-mode") == "navigate"
    if navigates and headers.get("sec-fetch-dest") == "document" and _is_safe(connection):
        return None
    return "the request was made by a page of another site"


def _mutation_in_url(connection: HTTPConnection) -> str | None:
    """Refuse mutations and subscriptions in the address, on every path and for every method.

    The server takes a POST's operation from the address when the body is of no type it knows.
    """
    values = _query_values(connection.query_params)
    if all(carries_only_queries(value) for value in values):
        return None
    return "an address may carry a GraphQL query, not a mutation; send that as POST with JSON"


def _query_values(params: QueryParams) -> Iterable[str]:
    return (value for name, value in params.multi_items() if name == "query")


def _untyped_post(connection: HTTPConnection) -> str | None:
    path = connection.scope["path"].rstrip("/")
    if _is_safe(connection) or not path.endswith("/graphql"):
        return None
    content_type = connection.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() in _GRAPHQL_TYPES:
        return None
    return f"POST /graphql takes application/json, not {content_type!r}"


def _is_safe(connection: HTTPConnection) -> bool:
    return connection.scope.get("method", "GET") in _SAFE_METHODS


@dataclass(frozen=True)
class WebGuard:
    """ASGI application that answers 403 to what other sites' pages send, and passes on the rest.

    Attributes:
        app: The application behind it.
        is_remote: Whether other machines may connect, by an address or the machine's name.
    """

    app: ASGIApp
    is_remote: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or websocket."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = find_refusal(HTTPConnection(scope), is_remote=self.is_remote)
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            response = PlainTextResponse(f"medassets: refused: {refusal}\n", status_code=403)
            await response(scope, receive, send)
        else:
            # Closed before it was accepted: the client sees the upgrade answered with 403.
            await WebSocketClose(code=1008, reason="refused")(scope, receive, send)
