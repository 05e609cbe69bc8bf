import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click

from medassets.cli.completion import complete_datasets, list_names
from medassets.cli.main import COMMANDS, cli


def test_names_of_all_declarations_are_offered(declare: Callable[..., Path], home: Path) -> None:
    declare("mine")
    file = home / "defs" / "yours" / "defs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("type: x\nattributes: {name: yours, source: folder}\n")
    assert list_names() == [
        *("clip4mc", "ct_rate", "demo_ct", "demo_video", "demo_windows", "mine", "yours")
    ]
    context, parameter = click.Context(cli), click.Argument(["dataset"])
    found = complete_datasets(context, parameter, "demo_v")
    assert [item.value for item in found] == ["demo_video"]


def test_a_declaration_that_cannot_be_read_is_passed_over(
    declare: Callable[..., Path], home: Path
) -> None:
    file = declare("mine")
    file.unlink()
    file.mkdir()
    assert "mine" not in list_names()


def test_every_command_about_a_dataset_completes_its_name() -> None:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        for one in command.params:
            if one.name == "dataset" and not isinstance(one.type, click.Choice):
                (item,) = one.shell_complete(click.Context(command), "ct_r")
                assert item.value == "ct_rate", name


def test_a_shell_is_answered_without_dagster(home: Path) -> None:
    code = (
        "import sys; from medassets.cli.main import main\n"
        "try: main()\n"
        "finally: assert 'dagster' not in sys.modules or 'verify' in sys.argv"
    )
    words = {"COMP_WORDS": "medassets status ct_", "COMP_CWORD": "2"}
    env = {**os.environ, **words, "_MEDASSETS_COMPLETE": "bash_complete"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == "plain,ct_rate\n", done.stderr
