"""`medassets ui`: the processes it starts and stops, and who can connect."""

import signal
import socket
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
        assert ui.process.wait(40) == 0
        wait_until(lambda: are_gone(processes), 10)


@pytest.mark.slow
def test_a_daemon_that_ends_by_itself_is_reported(running_ui: Start, home: Path) -> None:
    with running_ui(home) as ui:
        daemon = next(p for p in ui.descendants() if "medassets.instance.daemon" in p.cmdline())
        daemon.kill()
        log = home.parent / "ui.log"
        wait_until(lambda: f"the daemon ended, exit code -{int(signal.SIGKILL)}" in log.read_text())
        assert ui.ask("{ version }")["version"]


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
        assert run(["ui", "--port", str(port)]) == EXIT_USAGE
    assert f"--port {port}: cannot listen on 127.0.0.1" in capsys.readouterr().err
