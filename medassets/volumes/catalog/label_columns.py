"""Which columns of a table are labels: the declared ones, or all that cannot be anything else."""

import itertools
import json
import re
from collections.abc import Sequence

from medassets.errors import CatalogError
from medassets.storage.formats.csv_tables import CsvTable, parse_number
from medassets.storage.formats.label_rules import LabelRules
from medassets.storage.formats.missing import is_missing

KEY_COLUMN = "VolumeName"
"""Column by which tables are joined."""

_INDEX = frozenset({"", "index", "row", "rowid", "rownumber", "level0", "no", "nr", "number"})
_UNNAMED = re.compile(r"(?:unnamed|level)[\s_]*:?[\s_]*\d+(?:[_.]\w+)?", re.IGNORECASE)
_IDENTIFIERS = frozenset(
    {
        *("patient", "subject", "study", "series", "scan", "volume", "image", "case", "sample"),
        *("accession", "accessionnumber", "mrn", "name", "patientname", "filename", "file", "path"),
        *("filepath", "key", "uri", "url", "hash", "md5", "sha256", "reconstruction", "instance"),
        *("fold", "split", "set", "subset", "partition", "cv", "group", "cluster", "cohort"),
        *("site", "center", "centre", "hospital", "institution", "scanner", "manufacturer"),
        *("date", "studydate", "time", "timestamp", "year", "age", "patientage", "sex", "gender"),
        *("patientsex", "reader", "annotator", "source", "version", "seed", "weight", "report"),
    }
)
_ID_WORD = re.compile(r"(?:^|[^A-Za-z])(?:id|uid|uuid|guid)s?(?:$|[^A-Za-z])", re.IGNORECASE)
_ID_END = re.compile(r"[a-z](?:ID|UID|Id|Uid)s?$")
_PLAIN = re.compile(r"[A-Za-z][\w ]*", re.ASCII)
_FEWEST_RUNNING = 3
_FEWEST_DISTINCT = 10


def choose_label_columns(table: CsvTable, rules: LabelRules) -> tuple[str, ...]:
    """Return the label columns of a table, in the order of the declaration or of the table.

    Args:
        table: The table of labels.
        rules: What the declaration says.

    Raises:
        CatalogError: If a declared column is missing; if none is declared and a column is an index,
            an identifier or text; or if there is no label at all.
    """
    table.column_index(KEY_COLUMN)
    if rules.columns:
        for name in rules.columns:
            table.column_index(name)
        return rules.columns
    names = [name for name in table.columns if name != KEY_COLUMN]
    problems = {name: what for name in names if (what := _find_problem(table, name))}
    if problems:
        raise _refuse(table, problems, [name for name in names if name not in problems])
    if not names:
        msg = f"{table.path}, row 1: expected a column per label beside {KEY_COLUMN}, got none"
        raise CatalogError(msg)
    return tuple(names)


def _refuse(table: CsvTable, problems: dict[str, str], rest: Sequence[str]) -> CatalogError:
    shown = ", ".join(f"{name or '(no name)'} ({what})" for name, what in problems.items())
    columns = ", ".join(name if _PLAIN.fullmatch(name) else json.dumps(name) for name in rest)
    are = "are" if len(problems) > 1 else "is"
    return CatalogError(
        f"{table.path}, row 1, column {next(iter(problems)) or '(no name)'}: {shown} {are} not taken "
        f"for a label; declare which columns are, such as `labels: {{columns: [{columns}]}}`"
    )


def _find_problem(table: CsvTable, name: str) -> str | None:
    """Return why a column is hardly a label; None where it may be one."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain in _INDEX or _UNNAMED.fullmatch(name):
        return "an index by its name"
    if plain in _IDENTIFIERS or _ID_WORD.search(name) or _ID_END.search(name):
        return "an identifier by its name"
    return _find_odd_content(table.column(name))


def _find_odd_content(cells: Sequence[str]) -> str | None:
    given = [cell for cell in cells if not is_missing(cell)]
    numbers: list[float] = []
    for cell in given:
        try:
            numbers.append(parse_number(cell) or 0.0)
        except ValueError:
            continue
    if len(given) > 1 and len(numbers) < len(given) / 2:
        return f"text such as {given[0][:40]!r}"
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    if len(numbers) >= _FEWEST_RUNNING and steps in ({1.0}, {-1.0}):
        return f"running numbers from {numbers[0]:g} to {numbers[-1]:g}"
    whole = all(number == int(number) for number in numbers)
    if whole and len(numbers) >= _FEWEST_DISTINCT and len(set(numbers)) == len(numbers):
        return f"another whole number in each of {len(numbers):,} rows"
    return None
