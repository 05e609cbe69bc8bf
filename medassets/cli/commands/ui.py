"""`medassets ui`: the Dagster web interface and daemon, for this machine's user only."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import NoReturn

import click
import dagster as dg
import uvicorn

# No public API makes the context that `create_app_from_workspace_process_context` needs, and the
# command `dagster-webserver` cannot put the guard before its application.
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.version import __version__ as webserver_version
from starlette.types import ASGIApp

from medassets.cli.web_guard import WebGuard
from medassets.instance.home import make_instance

_ADDRESS = "127.0.0.1"
# Open pages hold a websocket each; they reconnect, so nothing is lost by not waiting for them.
_GRACE_S = 2
_DAEMON_STOP_S = 20.0


@click.command(name="ui")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=3000,
    help="Port to listen on; 0 takes a free one.",
)
@click.option("--read-only", is_flag=True, help="Refuse every change; start no daemon.")
@click.option(
    "--no-daemon", is_flag=True, help="Start no daemon: one is running for this instance already."
)
def command(port: int, *, read_only: bool, no_daemon: bool) -> int:
    """Open the Dagster UI at http://127.0.0.1:3000, with the daemon that runs what it queues.

    Only this machine can connect; from another one, use ssh -L 3000:127.0.0.1:3000. Ctrl-C stops
    both; runs that have begun continue until they finish.
    """
    daemon_log = make_instance() / "daemon.log"
    with ExitStack() as stack:
        listener = stack.enter_context(_listening_socket(port))
        workspace = stack.enter_context(as_file(files("medassets.instance") / "workspace.yaml"))
        stack.enter_context(_terminate_as_interrupt())
        if not (read_only or no_daemon):
            stack.enter_context(running_daemon(workspace, daemon_log))
            click.echo(f"medassets ui: the daemon and its runs write to {daemon_log}", err=True)
        app = stack.enter_context(guarded_app(workspace, read_only=read_only))
        click.echo(f"medassets ui: http://{_ADDRESS}:{listener.getsockname()[1]}  (Ctrl-C stops)")
        _serve(app, listener)
    _tell_of_runs()
    return 0


@contextmanager
def guarded_app(workspace: Path, *, read_only: bool = False) -> Iterator[ASGIApp]:
    """Yield Dagster's web application behind the guard.

    Args:
        workspace: The `workspace.yaml` to serve.
        read_only: Refuse every mutation.
    """
    with (
        dg.DagsterInstance.get() as instance,
        WorkspaceProcessContext(
            instance,
            workspace_load_target=WorkspaceFileTarget([str(workspace)]),
            version=webserver_version,
            read_only=read_only,
            code_server_log_level="warning",
        ) as context,
    ):
        instance.optimize_for_webserver(
            statement_timeout=15_000, pool_recycle=3_600, max_overflow=20
        )
        yield WebGuard(create_app_from_workspace_process_context(context))


@contextmanager
def running_daemon(workspace: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the Dagster daemon in a process of its own until the block is left.

    Args:
        workspace: The `workspace.yaml` to serve.
        log: File to which its output and that of the runs it starts are appended.
    """
    arguments = [sys.executable, "-m", "medassets.instance.daemon", "--workspace", str(workspace)]
    with log.open("ab") as output:
        daemon = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            # Ctrl-C in the terminal must not reach the runs the daemon started.
            start_new_session=True,
        )
    Thread(target=_tell_of_early_end, args=(daemon, log), daemon=True).start()
    try:
        yield daemon
    finally:
        _stop(daemon)


def _tell_of_runs() -> None:
    going = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    with dg.DagsterInstance.get() as instance:
        if count := instance.get_runs_count(going):
            tail = "they continue until they finish; start the UI again to see or to stop them"
            click.echo(f"medassets ui: runs not finished yet: {count}; {tail}", err=True)


def _tell_of_early_end(daemon: subprocess.Popen[bytes], log: Path) -> None:
    code = daemon.wait()
    if daemon.stdin and not daemon.stdin.closed:
        tail = f"runs queued in the UI do not start; see the end of {log}"
        click.echo(f"medassets ui: the daemon ended, exit code {code}: {tail}", err=True)


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    if daemon.stdin:
        daemon.stdin.close()
    try:
        daemon.wait(_DAEMON_STOP_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        daemon.kill()
        daemon.wait()


@contextmanager
def _listening_socket(port: int) -> Iterator[socket.socket]:
    """Yield a socket bound to the loopback address, before anything slow is started."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_ADDRESS, port))
        except OSError as error:
            msg = (
                f"--port {port}: cannot listen on {_ADDRESS}: {error.strerror}; 0 takes a free one"
            )
            raise click.UsageError(msg) from error
        # From here on a browser waits for the server instead of being refused.
        listener.listen()
        yield listener


def _serve(app: ASGIApp, listener: socket.socket) -> None:
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE_S)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        click.echo("medassets ui: stopping", err=True)


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does; its default would leave the daemon behind."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
