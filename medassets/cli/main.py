"""Entry point of the `medassets` command: commands, and what their exit codes mean."""

import sys

import click

from medassets import __version__
from medassets.errors import (
    DiskSpaceError,
    MedassetsError,
    SourceAccessError,
    SourceUnavailableError,
    SpecError,
)

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SOURCE = 3
EXIT_DISK = 4
EXIT_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called.

    Dagster takes half a second to import; `medassets --help` need not wait for it.
    """

    commands_by_module = (
        "plan",
        "build",
        "status",
        "retry",
        "verify",
        "inspect",
        "validate",
        "doctor",
        "demo",
        "ui",
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a user's work."""
        return list(self.commands_by_module)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in self.commands_by_module:
            return None
        module = __import__(f"medassets.cli.{cmd_name}", fromlist=["command"])
        return module.command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="medassets")
def cli() -> None:
    r"""Turn CT volumes into training-ready shards.

    Everything runs through Dagster: the UI shows what this command does, and the other way round.

    \b
    Exit codes: 0 done · 1 something failed, it is named · 2 wrong usage or declaration ·
    3 the source refuses or stays silent · 4 not enough disk · 130 interrupted
    """


def main() -> None:
    """Run the command and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command on a list of arguments and return its exit code."""
    try:
        code = cli.main(args=arguments, prog_name="medassets", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; the next run continues where this one stopped", err=True)
        return EXIT_INTERRUPTED
    except MedassetsError as error:
        click.echo(f"medassets: {error}", err=True)
        return exit_code_of(error)
    return code if isinstance(code, int) else 0


def exit_code_of(error: MedassetsError) -> int:
    """Return the exit code that tells a program what sort of error it was."""
    if isinstance(error, SourceAccessError | SourceUnavailableError):
        return EXIT_SOURCE
    if isinstance(error, DiskSpaceError):
        return EXIT_DISK
    return EXIT_USAGE if isinstance(error, SpecError) else EXIT_FAILED
