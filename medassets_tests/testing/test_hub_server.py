"""Start and end of the servers of a local hub."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from medassets.testing.hub import LocalHub
from medassets_tests.testing.small_hub import BIG, REPO_ID, url_of


def test_close_does_not_wait_for_stalled_clients(folder: Path) -> None:
    with LocalHub(folder, REPO_ID) as hub:
        hub.fail("stall", at_byte=10)
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.get(url_of(hub, BIG), follow_redirects=True, timeout=0.2)


def test_a_closed_hub_refuses_connections_and_can_start_again(folder: Path) -> None:
    hub = LocalHub(folder, REPO_ID)
    for _ in range(2):
        with hub:
            urls = [url_of(hub, "README.md"), hub.cdn_url]
            assert httpx2.get(urls[0]).text == "# read me"
        for url in urls:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", urlsplit(url).port))


def test_large_files_are_served_from_another_port_by_their_digest(hub: LocalHub) -> None:
    link = httpx2.get(url_of(hub, BIG)).headers["location"]
    assert link.startswith(f"{hub.cdn_url}/blobs/")
    assert hub.cdn_url != hub.endpoint
    assert len(httpx2.get(link).content) == 12_800
    assert httpx2.get(f"{hub.cdn_url}/blobs/{'0' * 64}").status_code == 404
