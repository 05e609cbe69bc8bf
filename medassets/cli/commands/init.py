"""`medassets init`: look at a folder, and declare the dataset that it holds."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import click

from medassets.cli.console import Output
from medassets.cli.main import EXIT_FAILED
from medassets.cli.rehearsal import Rehearsal, rehearse
from medassets.cli.session import Session, open_undeclared
from medassets.components.overrides import overrides_file
from medassets.datasets.discovery.census import SORTS
from medassets.datasets.discovery.declaration import check_proposal, make_name, write_yaml
from medassets.datasets.discovery.looking import propose
from medassets.datasets.discovery.proposal import Hints, Proposal
from medassets.datasets.kind import DatasetKind
from medassets.datasets.workspace import Workspace
from medassets.errors import ForeignFileError, SpecError, UsageError
from medassets.specs.checks import check_pattern
from medassets.specs.dataset import DATASET_NAME
from medassets.storage.atomic import publish_bytes
from medassets.storage.ownership import never
from medassets.storage.paths import declarations_home, local_path

_SOURCES = {"data_folder": "npz", "videos_dir": "video", "clips_dir": "video"}
_FILES = ("table", "meta_file", "reports_file", "labels_file", "info_csv", "metadata", "pairs_json")
_TOO_MANY = "too much to try the plan here within seconds: `medassets plan` says what it leaves out, and writes nothing"
_LISTS = ("report", "labels", "metadata")


@click.command(name="init")
@click.argument("path", required=False)
@click.option("--name", default="", help="Name of the dataset; default: that of the folder.")
@click.option("--yes", is_flag=True, help="Write the declaration without asking about doubts.")
@click.option(
    "--hu-rule",
    type=click.Choice(["none", "table", "header"]),
    help="How stored values become HU: they are (none), by a table, by the header.",
)
@click.option("--table", default="", help="NIfTI: the table with a row per volume or folder.")
@click.option(
    "--columns",
    multiple=True,
    metavar="ROLE=COLUMN",
    help="NIfTI: columns of the table: file, patient, split, report, labels; the last two take A,B,C.",
)
@click.option("--meta-file", default="", help="NPZ: table of VolumeName, XYSpacing, ZSpacing.")
@click.option("--reports-file", default="", help="NPZ: table of reports.")
@click.option("--labels-file", default="", help="NPZ: table of labels.")
@click.option("--array-key", default="", help="NPZ: array that is the volume.")
@click.option("--data-folder", default="", help="NPZ: the folder, in place of PATH.")
@click.option("--videos-dir", default="", help="Videos: the folder, in place of PATH.")
@click.option("--info-csv", default="", help="Videos: table url,filename.")
@click.option("--metadata", default="", help="Videos: JSON of what is said when.")
@click.option("--clips-dir", default="", help="Clips: the folder, in place of PATH.")
@click.option("--pairs-json", default="", help="Clips: text_video_pairs.json.")
@click.option(
    "--files",
    "sort",
    type=click.Choice([*SORTS]),
    help="Take these files, where the folder holds several sorts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    path: str | None,
    name: str,
    hu_rule: str | None,
    columns: Sequence[str],
    array_key: str,
    sort: str | None,
    *,
    yes: bool,
    as_json: bool,
    **paths: str,
) -> int:
    """Look at the folder PATH, say what it holds, and write the declaration of a dataset.

    PATH may be a pattern of tars, such as /raw/{train,valid}/shard-{000000..000009}.tar. A sample of
    the files is opened, and the plan of few is tried, which takes seconds. The declaration is $MEDASSETS_HOME/defs/NAME/defs.yaml;
    an existing one is never replaced. Where something is not certain, it is said and asked (--yes
    accepts); the next command is printed.
    """
    output = Output(as_json)
    place = _choose_place(path, paths)
    named = {field: _find_file(paths[field], place.folder, field) for field in _FILES}
    hints = Hints(
        hu_rule=hu_rule or "",
        columns=_parse_columns(columns),
        array_key=array_key,
        sort=place.sort or sort or "",
        **named,
    )
    proposal = propose(place.folder, hints)
    dataset = _choose_name(name, place.folder)
    workspace = open_undeclared(_check(proposal, dataset))
    proposal = _rehearse(proposal, workspace)
    target = declarations_home() / dataset / "defs.yaml"
    text = write_yaml(proposal, dataset)
    _tell(output, proposal)
    is_written = _may_write(output, proposal, yes=yes)
    if is_written:
        _write(target, text)
        Session().kind(dataset)
    _tell_next(output, dataset, target, is_written=is_written)
    output.result(
        {
            "name": dataset,
            "file": str(target),
            "written": is_written,
            "title": proposal.title,
            "component": proposal.component,
            "fields": dict(proposal.fields),
            "facts": list(proposal.facts),
            "doubts": list(proposal.doubts),
            "yaml": text,
        }
    )
    return 0 if is_written else EXIT_FAILED


class _Place(NamedTuple):
    folder: Path
    sort: str


def _choose_place(path: str | None, paths: Mapping[str, str]) -> _Place:
    """Return what to look at: PATH, or the folder that an option of the older scripts names.

    Raises:
        UsageError: If there is not exactly one.
    """
    named = [(path, "")] if path else []
    named += [(paths[option], sort) for option, sort in _SOURCES.items() if paths[option]]
    if len(named) != 1:
        options = ", ".join(f"--{option.replace('_', '-')}" for option in _SOURCES)
        what = f"name one folder, as PATH or by one of {options}"
        raise UsageError(field="PATH", what=what)
    ((text, sort),) = named
    return _Place(local_path(Path(text).expanduser(), field="PATH"), sort)


def _find_file(text: str, folder: Path, field: str) -> str:
    """Return a file that an option names: inside the folder as such, else with its whole path."""
    if not text:
        return ""
    inside, place = folder / text, local_path(Path(text).expanduser(), field=f"--{field}")
    split = text.replace("{split}", "train")
    if not Path(split).is_absolute() and (folder / split).exists():
        place = inside
    is_path = field in ("info_csv", "metadata", "pairs_json")
    return str(place.relative_to(folder) if place.is_relative_to(folder) and not is_path else place)


def _parse_columns(given: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for text in given:
        role, equals, value = text.partition("=")
        if not equals or not value:
            what = f"expected ROLE=COLUMN such as file=image_id, got {text!r}"
            raise UsageError(field="--columns", what=what)
        names = [name.strip() for name in value.split(",")]
        columns[role.strip()] = names if role.strip() in _LISTS else value.strip()
    return columns


def _choose_name(name: str, folder: Path) -> str:
    """Return the name of the dataset; a pattern is named like its folder.

    Raises:
        UsageError: If it is no name, or taken.
    """
    named = folder if folder.is_dir() else _find_fixed_folder(folder)
    chosen = name or make_name(named)
    try:
        check_pattern("name", chosen, DATASET_NAME, "lower-case letters, digits and _")
    except SpecError as error:
        raise UsageError(field="--name", what=error.what) from error
    if os.path.lexists(overrides_file(chosen)):
        # They would change the new declaration without a word.
        what = f"{overrides_file(chosen)} holds fields of an earlier dataset; remove it, or give another name"
        raise UsageError(field="--name", what=what)
    declared = Session().loaded.datasets.get(chosen)
    target = declarations_home() / chosen / "defs.yaml"
    taken = declared.file if declared else target if os.path.lexists(target) else None
    if taken is not None:
        what = f"{chosen!r} is already declared in {taken}; give another with --name, or edit that file"
        raise UsageError(field="--name", what=what)
    return chosen


def _find_fixed_folder(pattern: Path) -> Path:
    """Return the folder in front of the first mark of a pattern."""
    fixed = str(pattern)
    for mark in "{*?[":
        fixed = fixed.partition(mark)[0]
    return Path(fixed.rpartition("/")[0] or "/")


def _check(proposal: Proposal, dataset: str) -> DatasetKind:
    """Refuse what loading would refuse, before anything is written."""
    if "{{" in str(dict(proposal.fields)) or "{%" in str(dict(proposal.fields)):
        what = "a path with {{ or {% would be read as a template; rename the folder"
        raise UsageError(field="PATH", what=what)
    return check_proposal(proposal, dataset)


def _rehearse(proposal: Proposal, workspace: Workspace) -> Proposal:
    """Add what a plan would refuse or leave out; of many files nothing, and that is said."""
    found = Rehearsal(doubts=[_TOO_MANY])
    if proposal.is_small:
        found = rehearse(workspace, known=proposal.doubts)
    facts, doubts = [*proposal.facts, *found.facts], [*proposal.doubts, *found.doubts]
    return replace(proposal, facts=facts, doubts=doubts)


def _tell(output: Output, proposal: Proposal) -> None:
    output.say(proposal.title)
    for fact in proposal.facts:
        output.say(f"  {fact}")
    for doubt in proposal.doubts:
        output.warn(f"  ? {doubt}")


def _may_write(output: Output, proposal: Proposal, *, yes: bool) -> bool:
    """Ask where something is not certain; without a terminal --yes must have answered."""
    if yes or not proposal.doubts:
        return True
    if output.as_json or sys.stdin is None or not sys.stdin.isatty():
        output.warn("not written: accept what is not certain with --yes")
        return False
    return click.confirm("Write the declaration?", default=True, err=True)


def _write(target: Path, text: str) -> None:
    """Write a new file; one that exists by now is kept."""
    try:
        publish_bytes(target, text.encode(), is_ours=never)
    except ForeignFileError as error:
        what = f"{target} exists by now; give another name with --name"
        raise UsageError(field="--name", what=what) from error


def _tell_next(output: Output, dataset: str, target: Path, *, is_written: bool) -> None:
    if not is_written:
        return
    output.say(f"\nwrote {target}")
    output.say("next:")
    output.say(f"  medassets build {dataset}    # first `medassets plan {dataset}` writes nothing")
    if "MEDASSETS_HOME" not in os.environ:
        home = shlex.quote(str(declarations_home().parent))
        output.say(f"  shards go to {home}; another place: export MEDASSETS_HOME=...")
