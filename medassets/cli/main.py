"""Entry point of the `medassets` command: commands, and what their exit codes mean."""

import gc
import json
import logging
import sys
from contextlib import nullcontext

import click

from medassets.cli.build_options.older_options import explain_older
from medassets.cli.ending import ending_in_order, interrupted_code
from medassets.errors import (
    DiskSpaceError,
    MedassetsError,
    SourceAccessError,
    SourceUnavailableError,
    UsageError,
)
from medassets.specs.checks import suggest_name
from medassets.storage.collection import paused_collection
from medassets.storage.modes import private_files
from medassets.storage.paths import medassets_home, show_path
from medassets.storage.unreadable import explain_refusal
from medassets.version import __version__

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SOURCE = 3
EXIT_DISK = 4

# Next to the names, so that `medassets --help` need not import Dagster for ten docstrings.
COMMANDS = {
    "init": "Look at a folder and declare the dataset that it holds.",
    "plan": "Estimate shards, bytes and hours of a build; writes nothing.",
    "build": "Build the shards that are missing, failed, stale or lost.",
    "slurm": "Print the script that builds a dataset on a SLURM cluster.",
    "status": "Show the state of every shard.",
    "automate": "Let Dagster keep a dataset complete by itself, or stop that.",
    "retry": "Build failed and lost shards again.",
    "adopt": "Keep stale shards that would be made to the same bytes.",
    "verify": "Check every byte of every shard against its record.",
    "reconcile": "Restore plan, partitions and Dagster's record from the shards.",
    "reclaim": "List or delete source files that are in complete shards.",
    "inspect": "Show the first samples of a shard.",
    "export": "Write shards as the files that other training code reads.",
    "merge-info": "Combine several exports into one dataset.",
    "bench": "Measure loading speed by number of workers.",
    "validate": "Check every declaration: file, line, field.",
    "doctor": "Check what a build needs on this machine.",
    "demo": "Build example datasets from synthetic data.",
    "up": "Serve the Dagster UI and daemon, for this machine only.",
}
_FOR_OTHERS = (["export"], ["merge-info"])
_ALIASES = {"ui": "up", "list": "status"}
_EXIT_CODES = """\b
Exit codes:
    0  done
    1  something failed, and is named; or there is nothing to build
    2  wrong usage or declaration
    3  the source refuses or does not answer
    4  not enough disk
  129  interrupted because the terminal was closed; the next run continues
  130  interrupted; the next run continues
"""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called.

    Dagster takes half a second to import; `medassets --help` need not wait for it.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a user's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        name = name.replace("-", "_")
        with paused_collection():
            module = __import__(f"medassets.cli.commands.{name}", fromlist=["command"])
            # Else every collection goes over all of Dagster.
            gc.freeze()
        return module.command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called; an unknown one names the nearest.

        Raises:
            click.UsageError: If there is none.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = suggest_name(args[0], [*COMMANDS, *_ALIASES])
            msg = f"{error.message.rstrip('.')}{near}"
            raise click.UsageError(msg, ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with one line each, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        # The scripts that people used before write their options with underscores.
        "token_normalize_func": lambda name: name.replace("_", "-"),
    },
    epilog=_EXIT_CODES,
)
@click.version_option(__version__, prog_name="medassets")
def cli() -> None:
    """Turn CT volumes and videos into training-ready shards.

    Everything runs through Dagster: the UI shows what this command does, and the command shows what
    was built in the UI.
    """


def main() -> None:
    """Run the command and leave with its exit code."""
    with ending_in_order():
        code = run(sys.argv[1:])
    # Else the interpreter's last collections go over all of Dagster: 0.6 of 3.2 s were that.
    gc.freeze()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run the command on a list of arguments and return its exit code."""
    as_json = "--json" in arguments
    if logging.lastResort is not None:
        # It looks up sys.stderr at each line, which a progress bar replaces while it is shown.
        logging.lastResort.setFormatter(logging.Formatter("medassets: %(message)s"))
    try:
        # What is written for others is made as the user's own mask says.
        own = nullcontext() if arguments[:1] in _FOR_OTHERS else private_files(medassets_home())
        with own:
            code = cli.main(args=arguments, prog_name="medassets", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        message = ". ".join(
            filter(None, (error.format_message().rstrip("."), explain_older(error)))
        )
        if explain_older(error):
            click.echo(f"medassets: {explain_older(error)}", err=True)
        return _report(message, error.exit_code, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        message = "interrupted; the next run continues where this one stopped"
        click.echo(f"medassets: {message}", err=True)
        return _report(message, interrupted_code(), as_json=as_json)
    except MedassetsError as error:
        click.echo(f"medassets: {show_path(str(error))}", err=True)
        if isinstance(error, SourceUnavailableError):
            from medassets.cli.notes.sources import explain_demo

            if hint := explain_demo(str(error)):
                click.echo(f"medassets: {hint}", err=True)
        return _report(str(error), exit_code_of(type(error)), as_json=as_json)
    except OSError as error:
        refusal = explain_refusal(error)
        if refusal is None:
            raise
        click.echo(f"medassets: {refusal}", err=True)
        return _report(str(refusal), EXIT_FAILED, as_json=as_json)
    return code if isinstance(code, int) else 0


def _report(message: str, code: int, *, as_json: bool) -> int:
    """Give a program its one document even when there is no result."""
    if as_json:
        document = json.dumps({"error": message, "exit_code": code}, ensure_ascii=False)
        click.echo(show_path(document))
    return code


def exit_code_of(kind: type[BaseException]) -> int:
    """Return the exit code that tells a program what sort of error it was."""
    if issubclass(kind, SourceAccessError | SourceUnavailableError):
        return EXIT_SOURCE
    if issubclass(kind, DiskSpaceError):
        return EXIT_DISK
    return EXIT_USAGE if issubclass(kind, UsageError) else EXIT_FAILED
