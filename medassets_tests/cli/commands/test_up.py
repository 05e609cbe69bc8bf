"""`medassets up`: the processes it starts and stops, and who can connect."""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest

from medassets.cli.main import EXIT_USAGE, run
from medassets_tests.cli.waiting import are_gone, wait_until

Start = Callable[..., AbstractContextManager[Any]]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_webserver_daemon_and_code_servers(
    running_ui: Start, home: Path, number: signal.Signals
) -> None:
    with running_ui(home) as ui:
        daemon, *_ = [p for p in ui.descendants() if "medassets.instance.daemon" in p.cmdline()]
        wait_until(lambda: bool(daemon.children()))
        processes = ui.descendants()
        ui.process.send_signal(number)
        assert ui.process.wait(120) == 0
        wait_until(lambda: are_gone(processes))


@pytest.mark.slow
def test_a_second_server_names_the_first_and_ends(running_ui: Start, home: Path) -> None:
    with running_ui(home, "--read-only"), running_ui(home) as ui:
        command = [sys.executable, "-m", "medassets", "ui", "--port", "0"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert second.returncode == 1
        first = f"process {ui.process.pid} on {socket.gethostname()}, http://127.0.0.1:{ui.port}"
        assert f"a server runs for this home already: {first}, since " in second.stderr
        assert len([p for p in ui.descendants() if "medassets.instance.daemon" in p.cmdline()]) == 1


def test_a_read_only_ui_refuses_changes_and_starts_no_daemon(running_ui: Start, home: Path) -> None:
    wipe = """mutation { wipeAssets(assetPartitionRanges: [{assetKey: {path: ["demo_ct", "catalog"]}}])
      { __typename } }"""
    with running_ui(home, "--read-only") as ui:
        assert ui.ask(wipe)["wipeAssets"]["__typename"] == "UnauthorizedError"
        assert not [p for p in ui.descendants() if "medassets.instance.daemon" in p.cmdline()]


def test_the_instance_sends_no_telemetry_and_shows_no_welcome(
    running_ui: Start, home: Path
) -> None:
    with running_ui(home, "--no-daemon") as ui:
        assert ui.ask("{ shouldShowNux }") == {"shouldShowNux": False}
        assert "telemetryEnabled: false" in ui.client.get("/").text.replace('"', "")


def test_only_this_machine_can_connect(running_ui: Start, home: Path) -> None:
    with running_ui(home, "--no-daemon") as ui:
        connections = psutil.Process(ui.process.pid).net_connections(kind="tcp")
        listening = {c.laddr for c in connections if c.status == psutil.CONN_LISTEN}
        assert listening == {("127.0.0.1", ui.port)}


def test_a_taken_port_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["up", "--port", str(port)]) == EXIT_USAGE
    assert f"--port {port}: cannot listen on 127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_address_that_others_reach_must_be_meant(
    home: Path, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    assert run(["up", "--host", host]) == EXIT_USAGE
    message = capsys.readouterr().err
    assert f"--host: {host} is reachable from other machines, and it has no login" in message
    assert message.endswith("or add --without-login\n")
    assert not home.exists()


@pytest.mark.slow
def test_a_meant_address_is_warned_of_and_served(running_ui: Start, home: Path) -> None:
    with running_ui(home, "--no-daemon", "--host", "0.0.0.0", "--without-login") as ui:
        name = {"host": f"{socket.gethostname()}:{ui.port}"}
        assert ui.client.get("/server_info", headers=name).status_code == 200
        rebound = {"host": f"evil.example:{ui.port}"}
        assert ui.client.get("/server_info", headers=rebound).status_code == 403
    warning = "WARNING: the UI listens on 0.0.0.0, and it has no login"
    assert warning in (home.parent / "ui.log").read_text()


@pytest.mark.slow
def test_a_server_whose_home_is_deleted_says_so_and_fails(
    running_ui: Start, home: Path, tmp_path: Path
) -> None:
    with running_ui(home) as ui:
        processes = ui.descendants()
        shutil.rmtree(home / "dagster")
        assert ui.process.wait(120) == 1
        wait_until(lambda: are_gone(processes))
    assert (
        "the home was deleted or replaced while it was served" in (tmp_path / "ui.log").read_text()
    )
