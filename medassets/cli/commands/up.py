"""`medassets up`: the Dagster web interface and daemon, for this machine's user only."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
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

from medassets.cli.lost_home import restore_all_partitions
from medassets.cli.main import EXIT_FAILED
from medassets.cli.session import Session
from medassets.cli.web_guard import WebGuard
from medassets.datasets.workspace import Workspace
from medassets.errors import UsageError
from medassets.instance.code_servers import replacing_dead_servers
from medassets.instance.daemon_keeper import running_daemon
from medassets.instance.home import ensure_dagster_home, make_instance, use_postgres
from medassets.instance.home_lock import holding_home, watching_lock
from medassets.instance.housekeeping import keeping_house
from medassets.instance.settings import list_lacking

_ADDRESS = "127.0.0.1"
# Open pages hold a websocket each; they reconnect, so nothing is lost by not waiting for them.
_GRACE_S = 2


@click.command(name="up")
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
@click.option(
    "--host",
    default=_ADDRESS,
    help="Address to listen on instead of this machine's own; needs --without-login.",
)
@click.option(
    "--without-login",
    is_flag=True,
    help="Allow --host: the UI has no login: anyone who can connect can run and delete everything.",
)
@click.option(
    "--postgres",
    envvar="MEDASSETS_POSTGRES",
    metavar="URL",
    help="Keep the record in this database, from now on: postgresql://USER@HOST/DATABASE.",
)
@click.option(
    "--keep-days",
    type=click.IntRange(0),
    default=30,
    show_default=True,
    help="Days for which logs of finished runs are kept; 0 keeps them all.",
)
def command(
    port: int,
    host: str,
    postgres: str | None,
    keep_days: int,
    *,
    read_only: bool,
    no_daemon: bool,
    without_login: bool,
) -> int:
    """Serve the Dagster UI at http://127.0.0.1:3000, with the daemon that runs what it queues.

    One home has one server. Only this machine can connect; from another one, use
    ssh -L 3000:127.0.0.1:3000. Ctrl-C or SIGTERM stops both; runs that have begun continue until
    they finish.
    """
    check_host(host, without_login=without_login)
    home = ensure_dagster_home()
    with ExitStack() as stack:
        stack.enter_context(_terminate_as_interrupt())
        alone = not (read_only or no_daemon)
        lock = stack.enter_context(holding_home(home, _tell)) if alone else None
        if lock is not None:
            stack.enter_context(watching_lock(lock, _give_up))
        _prepare(home, postgres if alone else None)
        listener = stack.enter_context(_listening_socket(host, port))
        address = _format_address(listener)
        workspace = stack.enter_context(as_file(files("medassets.instance") / "workspace.yaml"))
        if not read_only:
            with dg.DagsterInstance.get() as instance:
                restore_all_partitions(Session(), instance, _tell)
        if lock is not None:
            lock.announce(address)
            log = home / "daemon.log"
            stack.enter_context(keeping_house(log, keep_days=keep_days, tell=_tell))
            keeper = running_daemon(workspace, log, lock_fd=lock.fd, tell=_tell)
            stack.enter_context(keeper)
            _tell(f"the daemon and its runs write to {log}")
        app = stack.enter_context(guarded_app(workspace, host=host, read_only=read_only))
        click.echo(f"medassets up: {address}  (Ctrl-C stops)")
        _serve(app, listener)
        if lock is not None and not lock.is_in_place():
            return EXIT_FAILED
    _tell_of_runs()
    return 0


def _give_up() -> None:
    _tell("the home was deleted or replaced while it was served: this server ends")
    os.kill(os.getpid(), signal.SIGTERM)


def _prepare(home: Path, postgres: str | None) -> None:
    if postgres is not None:
        use_postgres(home, postgres)
    for text in list_lacking(home):
        _tell(f"{home / 'dagster.yaml'} is yours, and lacks {text}")
    make_instance()


def check_host(host: str, *, without_login: bool) -> None:
    """Refuse an address that others can reach, unless that is meant; then warn.

    Raises:
        UsageError: If the address is not this machine's own and nothing says that it is meant.
    """
    if host in (_ADDRESS, "localhost"):
        return
    danger = "it has no login: anyone who can connect can run, change and delete everything"
    if not without_login:
        what = f"{host} is reachable from other machines, and {danger}; use ssh -L, or add "
        raise UsageError(field="--host", what=f"{what}--without-login")
    _tell(f"WARNING: the UI listens on {host}, and {danger}")


@contextmanager
def guarded_app(
    workspace: Path, *, host: str = _ADDRESS, read_only: bool = False
) -> Iterator[ASGIApp]:
    """Yield Dagster's web application behind the guard.

    Args:
        workspace: The `workspace.yaml` to serve.
        host: Address that it listens on.
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
        replacing_dead_servers(context),
    ):
        instance.optimize_for_webserver(
            statement_timeout=15_000, pool_recycle=3_600, max_overflow=20
        )
        app = _with_metrics(create_app_from_workspace_process_context(context))
        yield WebGuard(app, is_remote=host != _ADDRESS)


def _with_metrics(app: ASGIApp) -> ASGIApp:
    """Serve `/metrics` beside the UI where the extra `metrics` is installed."""
    if find_spec("prometheus_client") is None:
        return app
    from medassets.instance.metrics import serving_metrics

    return serving_metrics(app, _list_workspaces)


def _list_workspaces() -> Iterator[Workspace]:
    # Anew at each look: declarations may have changed since the server began.
    session = Session()
    for name in session.loaded.datasets:
        for stage in session.live_stages(name, on_record=False):
            yield session.workspace(name, stage)


def _tell_of_runs() -> None:
    going = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
    with dg.DagsterInstance.get() as instance:
        if count := instance.get_runs_count(going):
            tail = "they continue until they finish; start it again to see or to stop them"
            _tell(f"runs not finished yet: {count}; {tail}")


def _tell(text: str) -> None:
    click.echo(f"medassets up: {text}", err=True)


@contextmanager
def _listening_socket(host: str, port: int) -> Iterator[socket.socket]:
    """Yield a socket bound to an address, before anything slow is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            msg = f"--port {port}: cannot listen on {host}: {error.strerror}; 0 takes a free one"
            raise click.UsageError(msg) from error
        # From here on a browser waits for the server instead of being refused.
        listener.listen()
        yield listener


def _format_address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _serve(app: ASGIApp, listener: socket.socket) -> None:
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE_S)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        _tell("stopping")


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, and the end of the terminal, unwind the stack as Ctrl-C does.

    Their default would leave the daemon behind. Under nohup, SIGHUP stays ignored.
    """
    numbers = [signal.SIGTERM, signal.SIGHUP]
    previous = {number: signal.getsignal(number) for number in numbers}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
