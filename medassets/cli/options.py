"""Options that only some kinds of dataset have: refused for the others, grouped in the help."""

from collections import defaultdict

import click
from click.core import ParameterSource

from medassets.datasets.kind import DatasetKind
from medassets.datasets.registry import check_option, titles_with


class KindCommand(click.Command):
    """A command whose help lists options of some kinds of dataset under those kinds."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section of options for all datasets, and one for each set of kinds."""
        sections: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for option in _options_of(self, ctx):
            record = option.get_help_record(ctx)
            if record is not None:
                sections[_section_of(option)].append(record)
        for title in sorted(sections, key=len):
            with formatter.section(title):
                formatter.write_dl(sections[title])


def check_given_options(context: click.Context, kind: DatasetKind) -> None:
    """Check the options on the command line against the kind of the dataset.

    Raises:
        UsageError: If one has no meaning for this kind.
    """
    for option in list_given_options(context):
        check_option(kind, option)


def list_given_options(context: click.Context) -> list[str]:
    """Return the options on the command line, each by its first name."""
    return [
        option.opts[0]
        for option in _options_of(context.command, context)
        if context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    ]


def _options_of(command: click.Command, context: click.Context) -> list[click.Option]:
    return [one for one in command.get_params(context) if isinstance(one, click.Option)]


def _section_of(option: click.Option) -> str:
    titles = titles_with(option.opts[0])
    return f"Options for datasets of {' and '.join(titles)}" if titles else "Options"
