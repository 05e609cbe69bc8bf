"""`medassets doctor`: what this machine has and what is missing, before a long run finds out."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import click

from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output
from medassets.cli.formatting import count_words, format_bytes
from medassets.cli.main import EXIT_FAILED
from medassets.cli.session import Session
from medassets.errors import MedassetsError
from medassets.instance.home import ensure_dagster_home
from medassets.instance.settings import list_lacking
from medassets.storage.disk import free_bytes
from medassets.storage.modes import is_readable_by_others
from medassets.storage.paths import data_home, medassets_home, staging_home

Verdict = Literal["ok", "note", "bad"]

# One full CT-RATE shard is 14.2 GB; staging holds the 128 volumes it is made of, 13 GB.
_COMFORTABLE_BYTES = 30_000_000_000
_CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str


@click.command(name="doctor")
@click.argument("dataset", required=False, shell_complete=complete_datasets)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(dataset: str | None, *, as_json: bool) -> int:
    """Check token, gate, disk, GPU, codecs and instance; with DATASET, its source, too.

    Exit code 1 when something is wrong that a build needs.
    """
    output, session = Output(as_json), Session()
    if dataset is not None:
        session.kind(dataset)
    findings = list(examine(session, dataset))
    output.table(
        "medassets doctor",
        ["what", "verdict", "detail"],
        [list(vars(f).values()) for f in findings],
    )
    output.result({"findings": [asdict(finding) for finding in findings]})
    return EXIT_FAILED if any(finding.verdict == "bad" for finding in findings) else 0


def examine(session: Session, dataset: str | None) -> Iterator[Finding]:
    """Yield the findings; a source is asked only when a dataset is named."""
    yield _check_declarations(session)
    yield _check_instance(session)
    yield from _check_settings()
    yield _check_token()
    yield from _check_disks()
    yield _check_codecs()
    yield _check_gpu()
    if dataset is not None:
        yield _ask(f"source of {dataset}", lambda: _resolve(session, dataset))


def _check_declarations(session: Session) -> Finding:
    problems = session.loaded.problems
    if problems:
        return Finding("declarations", "bad", "; ".join(str(problem) for problem in problems))
    return Finding("declarations", "ok", ", ".join(sorted(session.loaded.datasets)))


def _check_instance(session: Session) -> Finding:
    home = ensure_dagster_home()
    runs = session.instance.get_runs_count()
    return Finding("Dagster instance", "ok", f"{home}, {count_words(runs, 'run')}")


def _check_settings() -> Iterator[Finding]:
    """Look at what an unattended home needs: killed runs that end, and files of its owner's."""
    home = ensure_dagster_home()
    for text in list_lacking(home):
        yield Finding("Dagster settings", "note", f"{home / 'dagster.yaml'} lacks {text}")
    for folder in (medassets_home(), home):
        if is_readable_by_others(folder):
            detail = f"every user of this machine may read {folder}: chmod -R o= {folder}"
            yield Finding("privacy", "note", detail)


def _check_token() -> Finding:
    from huggingface_hub import get_token

    # The token itself is never shown, not even a part of it.
    if get_token():
        where = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "the stored login"
        return Finding("Hugging Face token", "ok", f"found in {where}")
    detail = "none; gated datasets such as CT-RATE need HF_TOKEN or `hf auth login`"
    return Finding("Hugging Face token", "note", detail)


def _check_disks() -> Iterator[Finding]:
    for what, folder in (("data disk", data_home()), ("staging disk", staging_home())):
        free = free_bytes(folder)
        verdict: Verdict = "ok" if free >= _COMFORTABLE_BYTES else "note"
        yield Finding(what, verdict, f"{format_bytes(free)} free at {folder}")


def _check_codecs() -> Finding:
    import av

    missing = [name for name in _CODECS if name not in av.codecs_available]
    if missing:
        return Finding("video codecs", "note", f"missing: {', '.join(missing)}")
    return Finding("video codecs", "ok", ", ".join(_CODECS))


def _check_gpu() -> Finding:
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return Finding("GPU", "note", "none; CT does not need one, video decodes on the CPU")
    return Finding("GPU", "ok", "; ".join(found.stdout.strip().splitlines()))


def _resolve(session: Session, dataset: str) -> str:
    workspace = session.workspace(dataset)
    source, tables = workspace.source, workspace.kind.ct_source
    revision = source.resolve_revision()
    if not revision:
        return source.uri
    table = tables.first_file(source, revision=revision) if tables is not None else None
    if table is None:
        return f"{source.uri} at {revision[:12]}"
    # A gated repository tells its commit and its files to all, and their bytes to few.
    source.check_readable(table, revision=revision)
    return f"{source.uri} at {revision[:12]}, {table} can be read"


def _ask(what: str, question: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", question())
    except MedassetsError as error:
        return Finding(what, "bad", str(error))
