"""A code server that died is replaced, for the daemon and for the web server alike."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget

from medassets.instance import code_servers
from medassets.instance.code_servers import replace_dead_servers
from medassets_tests.cli.waiting import wait_until
from medassets_tests.instance.served import is_code_server, kill_all

pytestmark = pytest.mark.slow

LOCATION = "declared"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A file with definitions."""
    path = tmp_path / "module.py"
    path.write_text("import dagster as dg\ndefs = dg.Definitions()\n")
    return path


@pytest.fixture
def context(module: Path, tmp_path: Path) -> Iterator[WorkspaceProcessContext]:
    """A web server's workspace of that file, with its code server."""
    target = PythonFileTarget(
        str(module), attribute="defs", working_directory=None, location_name=LOCATION
    )
    settings = {"code_servers": {"wait_for_local_processes_on_shutdown": True}}
    with (
        dg.DagsterInstance.local_temp(str(tmp_path), overrides=settings) as instance,
        WorkspaceProcessContext(instance, workspace_load_target=target) as context,
    ):
        yield context


def kill_server() -> None:
    servers = [p for p in psutil.Process().children() if is_code_server(p)]
    assert servers
    kill_all(servers)


def replace_within_seconds(context: WorkspaceProcessContext) -> None:
    # The kernel closes the socket of a killed process a moment later.
    wait_until(lambda: replace_dead_servers(context) == [LOCATION])


def ping(context: WorkspaceProcessContext) -> str:
    location = context.get_current_workspace().code_location_entries[LOCATION].code_location
    assert isinstance(location, GrpcServerCodeLocation)
    return location.client.ping("hello")["echo"]


def test_a_dead_server_is_replaced(context: WorkspaceProcessContext) -> None:
    assert replace_dead_servers(context) == []
    kill_server()
    replace_within_seconds(context)
    assert ping(context) == "hello"
    assert replace_dead_servers(context) == []


def test_a_location_that_does_not_load_is_tried_again(
    context: WorkspaceProcessContext, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = module.read_text()
    module.write_text("raise ValueError\n")
    kill_server()
    with pytest.warns(UserWarning, match="Error loading repository location"):
        replace_within_seconds(context)
    assert not context.has_code_location(LOCATION)
    # A minute has not passed yet.
    assert replace_dead_servers(context) == []
    module.write_text(text)
    monkeypatch.setattr(code_servers, "_RETRY_S", 0.0)
    assert replace_dead_servers(context) == [LOCATION]
    assert ping(context) == "hello"
