"""What README and docs/operations.md say of the command is so."""

import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

from medassets.cli.main import COMMANDS, cli

Medassets = Callable[..., Any]

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "docs" / "operations.md"]


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return every `medassets ...` of code blocks and code words, each once."""
    found: dict[str, None] = {}
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        spans = [*re.findall(r"`([^`\n]+)`", text), *"\n".join(blocks("bash")).splitlines()]
        for span in spans:
            words = shlex.split(span.partition("#")[0])
            while words and "=" in words[0]:
                words.pop(0)
            if words[:1] == ["medassets"] and words[1:]:
                found[" ".join(words[1:])] = None
    return list(found)


@pytest.mark.parametrize("call", commands())
def test_every_command_of_the_documents_can_be_called(call: str, tmp_path: Path) -> None:
    name, *rest = (word.strip("[]") for word in call.split())
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    shard = tmp_path / "SHARD.tar"
    shard.touch()
    arguments = [str(shard) if word == "SHARD.tar" else word for word in rest]
    # Prose may leave out the dataset, never name an option that does not exist.
    with suppress(click.MissingParameter):
        command.make_context(name, arguments)


def test_the_table_of_commands_names_all_and_only_options_there_are() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `medassets ([\w-]+)[^|]*\|([^\n]*)\|$", text, re.MULTILINE)
    # The demo is what `make demo` runs.
    assert {name for name, _ in rows} == set(COMMANDS) - {"demo"}
    for name, words in rows:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        options = {opt for param in command.params for opt in param.opts}
        assert set(re.findall(r"--[a-z-]+", words)) <= options, name


def test_the_declarations_of_the_readme_validate(
    medassets: Medassets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for declaration in blocks("yaml"):
        place = re.match(r"# (my_defs/\w+/defs\.yaml)\n", declaration)
        assert place is not None
        file = tmp_path / place[1]
        file.parent.mkdir(parents=True)
        file.write_text(declaration)
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "my_defs"))
    document = medassets("validate", "--json").document
    assert {"my_ct", "my_windows"} <= set(document["datasets"])
    assert document["problems"] == []


# webdataset leaves the end of its file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_reader_of_the_readme_reads_a_shard(built: Path) -> None:
    (code,) = (code for code in blocks("python") if "webdataset" in code)
    shard = "data/ct_rate/valid/shard-000000.tar"
    assert shard in code
    assert "(480, 480, 240)" in code
    code = code.replace(shard, str(built / "valid/shard-000000.tar"))
    names: dict[str, Any] = {}
    exec(code.replace("480, 480, 240", "24, 20, 12"), names)
    assert names["volume"].shape == (24, 20, 12)
    assert names["labels"].shape == (18,)
    assert len(names["report"]) > 10
