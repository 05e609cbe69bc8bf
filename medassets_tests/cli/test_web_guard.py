import http.client
import json
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import dagster as dg
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from medassets.cli.web_guard import carries_only_queries

ASSET = ["demo_ct", "catalog"]
WIPE = """mutation Wipe { wipeAssets(assetPartitionRanges: [{assetKey: {path: ["demo_ct", "catalog"]}}])
  { __typename ... on AssetWipeSuccess { assetPartitionRanges { assetKey { path } } } } }"""
HARMLESS = "query Version { version }"
FOREIGN = {"Origin": "http://evil.example"}


@pytest.fixture(scope="module")
def ui(
    running_ui: Callable[..., AbstractContextManager[Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    with running_ui(tmp_path_factory.mktemp("guard") / "home", "--no-daemon") as running:
        yield running


@pytest.fixture
def victim(ui: Any) -> Callable[[], bool]:
    """Materialize the asset that the attacks try to wipe; tell whether its record is still there."""
    report = """mutation Report($params: ReportRunlessAssetEventsParams!) {
      reportRunlessAssetEvents(eventParams: $params) { __typename } }"""
    params = {"eventType": "ASSET_MATERIALIZATION", "assetKey": {"path": ASSET}}
    assert ui.ask(report, params=params)["reportRunlessAssetEvents"]["__typename"].endswith(
        "Success"
    )
    query = """query Known($key: AssetKeyInput!) {
      assetOrError(assetKey: $key) { ... on Asset { assetMaterializations { timestamp } } } }"""

    def is_there() -> bool:
        return bool(ui.ask(query, key={"path": ASSET})["assetOrError"]["assetMaterializations"])

    assert is_there()
    return is_there


def test_the_wipe_works_when_the_own_page_sends_it(ui: Any, victim: Callable[[], bool]) -> None:
    own = {"Origin": f"http://127.0.0.1:{ui.port}", "Sec-Fetch-Site": "same-origin"}
    answer = ui.client.post("/graphql", json={"query": WIPE}, headers=own)
    assert answer.json()["data"]["wipeAssets"]["__typename"] == "AssetWipeSuccess"
    assert not victim()


def in_address(*documents: str, **parameters: str) -> str:
    fields = [("query", document) for document in documents] + list(parameters.items())
    return "/graphql?" + urllib.parse.urlencode(fields)


JSON = {"Content-Type": "application/json"}
BODY = json.dumps({"query": WIPE})
TWO = f"{HARMLESS} {WIPE}"
ATTACKS: dict[str, tuple[str, str, dict[str, str], str | None]] = {
    "image": ("GET", in_address(WIPE), {}, None),
    "get_two_operations": ("GET", in_address(TWO, operationName="Wipe"), {}, None),
    "get_harmless_operation_chosen": (
        "GET",
        in_address(TWO, operationName="Version"),
        {},
        None,
    ),
    "get_two_documents": ("GET", in_address(HARMLESS, WIPE), {}, None),
    "get_document_twice": ("GET", in_address(WIPE, HARMLESS), {}, None),
    "get_comment_first": ("GET", in_address(f"# query\n,,{WIPE}"), {}, None),
    "get_other_path": ("GET", in_address(WIPE).replace("?", "/?"), {}, None),
    "get_foreign_origin": ("GET", in_address(HARMLESS), FOREIGN, None),
    "query_as_image": ("GET", in_address(HARMLESS), {"Sec-Fetch-Site": "cross-site"}, None),
    "other_port": ("GET", in_address(HARMLESS), {"Sec-Fetch-Site": "same-site"}, None),
    "frame": (
        "GET",
        "/",
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        None,
    ),
    "form_in_address": (
        "POST",
        in_address(WIPE),
        {"Content-Type": "application/x-www-form-urlencoded"},
        "a=b",
    ),
    "text_in_address": ("POST", in_address(WIPE), {"Content-Type": "text/plain"}, "x"),
    "json_but_in_address": ("POST", in_address(WIPE), JSON, BODY),
    "form": ("POST", "/graphql", {"Content-Type": "application/x-www-form-urlencoded"}, BODY),
    "text": ("POST", "/graphql", {"Content-Type": "text/plain"}, BODY),
    "disguised_json": ("POST", "/graphql", {"Content-Type": "text/plain;application/json"}, BODY),
    "no_type": ("POST", "/graphql", {}, BODY),
    "foreign_origin": ("POST", "/graphql", {**JSON, **FOREIGN}, BODY),
    "no_origin": ("POST", "/graphql", {**JSON, "Origin": "null"}, BODY),
    "other_port_origin": ("POST", "/graphql", {**JSON, "Origin": "http://127.0.0.1:1"}, BODY),
    "rebound_host": ("POST", "/graphql", {**JSON, "Host": "evil.example:3000"}, BODY),
    "rebound_host_and_origin": (
        "POST",
        "/graphql",
        {**JSON, "Host": "evil.example", "Origin": "http://evil.example"},
        BODY,
    ),
    "host_with_user": ("POST", "/graphql", {**JSON, "Host": "localhost@evil.example"}, BODY),
    "host_as_prefix": ("POST", "/graphql", {**JSON, "Host": "localhost.evil.example"}, BODY),
    "report_from_foreign_page": ("POST", "/report_asset_materialization/x", FOREIGN, None),
    "page_by_foreign_host": ("GET", "/", {"Host": "evil.example"}, None),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_an_attack_is_refused_and_changes_nothing(
    ui: Any, victim: Callable[[], bool], attack: str
) -> None:
    method, url, headers, body = ATTACKS[attack]
    answer = ui.client.request(method, url, headers=headers, content=body)
    assert (answer.status_code, answer.text[:18]) == (403, "medassets: refused")
    assert victim()


def test_a_batch_of_mutations_changes_nothing(ui: Any, victim: Callable[[], bool]) -> None:
    batch = urllib.parse.urlencode({"query": json.dumps([{"query": WIPE}])})
    assert ui.client.get(f"/graphql?{batch}").status_code == 400
    assert victim()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST:8080", "[::1]:3000"])
def test_own_names_are_served_at_any_port(ui: Any, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host}"}
    answer = ui.client.post("/graphql", json={"query": HARMLESS}, headers=headers)
    assert answer.json()["data"]["version"]


@pytest.mark.parametrize("page", ["/", "/asset-groups", "/assets/demo_ct/shards", "/graphql"])
def test_pages_open_also_by_a_link_of_another_site(ui: Any, page: str) -> None:
    headers = {
        "Accept": "text/html",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    answer = ui.client.get(page, headers=headers)
    assert (answer.status_code, "<html" in answer.text.lower()) == (200, True)


def test_queries_by_get_and_files_are_served(ui: Any) -> None:
    assert ui.client.get(in_address(HARMLESS)).json()["data"]["version"]
    assert ui.client.get("/favicon.svg").headers["content-type"] == "image/svg+xml"
    assert ui.client.get("/server_info").json()["dagster_version"] == dg.__version__


def test_subscriptions_work_from_the_own_origin_only(ui: Any) -> None:
    document = """subscription Logs { capturedLogs(logKey: ["none"]) { cursor } }"""
    address, protocol = f"ws://127.0.0.1:{ui.port}/graphql", [("graphql-ws")]
    own = f"http://127.0.0.1:{ui.port}"
    with connect(address, subprotocols=protocol, origin=own, proxy=None) as socket:  # pyright: ignore[reportArgumentType]
        socket.send(json.dumps({"type": "connection_init"}))
        assert json.loads(socket.recv(10)) == {"type": "connection_ack"}
        socket.send(json.dumps({"type": "start", "id": "1", "payload": {"query": document}}))
        assert json.loads(socket.recv(20))["payload"]["data"]["capturedLogs"]
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        with pytest.raises(InvalidStatus, match="403"):
            connect(address, subprotocols=protocol, origin=origin, proxy=None)  # pyright: ignore[reportArgumentType]


def test_two_host_headers_are_refused(ui: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", ui.port, timeout=20)
    connection.putrequest("GET", "/", skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{ui.port}")
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status in (400, 403)
    connection.close()


@pytest.mark.parametrize(
    ("document", "harmless"),
    [
        ("{ version }", True),
        ("query A { version } query B { version }", True),
        ("fragment F on Query { version } query A { ...F }", True),
        ("not graphql at all", True),
        ("query A { version } mutation B { x }", False),
        ("subscription { x }", False),
        ('query A { x(y: "mutation { z }") }', True),
        ("{x" * 20_000, True),
    ],
)
def test_the_operation_counts_not_the_word(document: str, harmless: bool) -> None:
    assert carries_only_queries(document) is harmless
