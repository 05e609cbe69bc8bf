"""`medassets validate`: every declaration, strictly."""

import click

from medassets.cli.console import Output
from medassets.cli.main import EXIT_FAILED
from medassets.cli.session import Session


@click.command(name="validate")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(*, as_json: bool) -> int:
    """Check every declaration: file, line and field of each mistake; exit code 1 if there is one."""
    output, session = Output(as_json), Session()
    loaded = session.loaded
    for problem in loaded.problems:
        output.warn(str(problem))
    for name, declared in sorted(loaded.datasets.items()):
        output.say(f"ok  {name}  ({declared.file})")
    problems = [
        {"file": str(p.file), "line": p.line, "field": p.field, "what": p.what}
        for p in loaded.problems
    ]
    output.result({"datasets": sorted(loaded.datasets), "problems": problems})
    return EXIT_FAILED if problems else 0
