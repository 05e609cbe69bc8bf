"""What the README and the pages of docs/ say of commands, declarations and files is true."""

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
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str, *documents: Path) -> list[str]:
    """Return the code blocks of a language; of all documents, if none is named."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    texts = (document.read_text(encoding="utf-8") for document in documents or DOCUMENTS)
    return [block for text in texts for block in pattern.findall(text)]


def anchors(document: Path) -> set[str]:
    """Return the names of a page's headings in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands() -> list[str]:
    """Return every `medassets ...` of code blocks and code words, each once."""
    found: dict[str, None] = {}
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        lines = "\n".join(blocks("(?:bash|sh)", document)).replace("\\\n", " ").splitlines()
        for span in [*re.findall(r"`([^`\n]+)`", text), *lines]:
            words = shlex.split(span.partition("#")[0]) if "medassets" in span else []
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
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `medassets ([\w-]+)[^|]*\|([^\n]*)\|$", text, re.MULTILINE)
    # The demo is what `make demo` runs.
    assert {name for name, _ in rows} == set(COMMANDS) - {"demo"}
    for name, words in rows:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        options = {o for one in command.params for o in (*one.opts, *one.secondary_opts)}
        assert set(re.findall(r"--[a-z-]+", words)) <= options, name


def test_the_readme_has_700_to_900_words_and_every_page_is_linked_from_it() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 700 <= len(text.split()) <= 900
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    assert set(re.findall(r"\(docs/([\w.-]+\.md)\)", text)) == pages


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    for link in links:
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_module_that_a_page_names_exists(document: Path) -> None:
    folders = (ROOT / "medassets", ROOT / "examples")
    modules = [f"/{path.relative_to(ROOT)}" for one in folders for path in one.rglob("*.py")]
    named = re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py)`", document.read_text(encoding="utf-8"))
    ours = [name for name in named if name != "process/static.py"]  # Of PKU-RL/CLIP4MC.
    assert [name for name in ours if not any(m.endswith(f"/{name}") for m in modules)] == []


def test_the_declarations_of_the_documents_validate(
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
    assert {"my_ct", "my_windows", "my_npz", "ct_npz", "ct_again"} <= set(document["datasets"])
    assert document["problems"] == []


# webdataset leaves the end of its file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_reader_of_the_page_on_formats_reads_a_shard(built: Path) -> None:
    (code,) = blocks("python", ROOT / "docs" / "formats.md")
    shard = "data/ct_rate/valid/shard-000000.tar"
    assert shard in code
    assert "(480, 480, 240)" in code
    code = code.replace(shard, str(built / "valid/shard-000000.tar"))
    names: dict[str, Any] = {}
    exec(code.replace("480, 480, 240", "24, 20, 12"), names)
    assert names["volume"].shape == (24, 20, 12)
    assert names["labels"].shape == (18,)
    assert len(names["report"]) > 10


def test_the_training_loop_of_the_readme_gives_batches(built: Path) -> None:
    (code,) = blocks("python", ROOT / "README.md")
    manifest = "data/ct_rate/train/manifest.json"
    assert manifest in code
    names: dict[str, Any] = {}
    exec(code.replace(manifest, str(built / "train/manifest.json")), names)
    assert names["volume"].shape[1:] == (1, 12, 24, 20)
    assert names["labels"].shape[1:] == (18,)
