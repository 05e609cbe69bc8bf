"""`medassets validate`: every declaration, strictly, and the files that it names."""

from collections.abc import Iterator

import click

from medassets.cli.console import Output
from medassets.cli.main import EXIT_FAILED
from medassets.cli.session import Session
from medassets.components.loading import Declared
from medassets.components.yaml_lines import Problem, read_documents
from medassets.errors import SpecError
from medassets.specs import VideoClipDatasetSpec


@click.command(name="validate")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(*, as_json: bool) -> int:
    """Check every declaration: file, line and field of each mistake; exit code 1 if there is one."""
    output, session = Output(as_json), Session()
    loaded = session.loaded
    found = {name: list(_check_files(one)) for name, one in sorted(loaded.datasets.items())}
    problems = [*loaded.problems, *(problem for its in found.values() for problem in its)]
    for problem in problems:
        output.warn(str(problem))
    for name, its in found.items():
        if not its:
            output.say(f"ok  {name}  ({loaded.datasets[name].file})")
    described = [
        {"file": str(p.file), "line": p.line, "field": p.field, "what": p.what} for p in problems
    ]
    output.result({"datasets": sorted(loaded.datasets), "problems": described})
    return EXIT_FAILED if problems else 0


def _check_files(declared: Declared) -> Iterator[Problem]:
    """Yield what is wrong with files that a declaration is not complete without.

    Folders and tables of the source are none of them: they may come later, and `doctor` looks.
    """
    spec = declared.spec
    if not isinstance(spec, VideoClipDatasetSpec) or not spec.tokenizer:
        return
    from medassets.video.tokens import open_tokenizer

    try:
        open_tokenizer(spec.tokenizer)
    except SpecError as error:
        yield _locate(declared, error.field, error.what)


def _locate(declared: Declared, field: str, what: str) -> Problem:
    """Return the problem at the line of its field, as far as the file tells which that is."""
    documents = [one for one in read_documents(declared.file) if field in one.attributes]
    named = [one for one in documents if _name(one.attributes.get("name")) == declared.spec.name]
    for document in named or documents[:1]:
        return document.problem(field, what)
    return Problem(declared.file, 0, field, what)


def _name(node: object) -> str:
    return str(getattr(node, "value", ""))
