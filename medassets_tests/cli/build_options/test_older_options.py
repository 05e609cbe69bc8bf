from collections.abc import Callable
from typing import Any

import click
import pytest

from medassets.cli.build_options.older_options import REPLACEMENTS, explain_older


@pytest.mark.parametrize("option", ["--test_mode", "--test-mode"])
def test_an_option_of_an_older_script_names_what_replaces_it(
    medassets: Callable[..., Any], option: str
) -> None:
    ran = medassets("build", "ct_rate", option, "--json")
    assert ran.code == 2
    assert "in place of --test-mode: --limit 100" in ran.err
    assert "--limit 100" in ran.document["error"]


def test_other_errors_have_no_such_hint() -> None:
    assert explain_older(click.NoSuchOption("--strange")) == ""
    assert explain_older(click.UsageError("--test-mode")) == ""


def test_no_replacement_is_an_option_of_build() -> None:
    from medassets.cli.commands.build import command

    assert not REPLACEMENTS.keys() & {name for one in command.params for name in one.opts}
