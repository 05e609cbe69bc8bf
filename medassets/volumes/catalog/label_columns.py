"""Which columns of a table are labels: the declared ones, or all that cannot be anything else."""

import itertools
import json
import re
from collections.abc import Collection, Sequence

from medassets.errors import CatalogError
from medassets.storage.formats.csv_tables import CsvTable, parse_number
from medassets.storage.formats.label_rules import LabelRules
from medassets.storage.formats.label_types import check_stored
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


def choose_label_columns(
    table: CsvTable, rules: LabelRules, *, others: Collection[str] = ()
) -> tuple[str, ...]:
    """Return the label columns of a table, in the order of the declaration or of the table.

    Args:
        table: The table of labels.
        rules: What the declaration says.
        others: Columns of the other tables, which are no labels unless they are declared.

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
    problems |= dict.fromkeys(set(names).intersection(others), "a column of another table, too")
    problems = {name: problems[name] for name in names if name in problems}
    if problems:
        raise _refuse(table, problems, [name for name in names if name not in problems])
    if not names:
        msg = f"{table.path}, row 1: expected a column per label beside {KEY_COLUMN}, got none"
        raise CatalogError(msg)
    return tuple(names)


def parse_label(cell: str) -> float | None:
    """Return the value of a cell; true and false are 1 and 0, and None says that nothing is given.

    Raises:
        ValueError: If it is neither, nor a finite number that float32 can hold.
    """
    word = cell.strip().lower()
    value = float(word == "true") if word in ("true", "false") else parse_number(cell)
    if value is not None:
        check_stored(value)
    return value


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
    known = {cell: _parse_label(cell) for cell in set(cells)}
    numbers = [value for cell in cells if (value := known[cell]) is not None]
    texts = [cell for cell in cells if known[cell] is None and not is_missing(cell)]
    if len(texts) > max(len(numbers), 1):
        return f"text such as {texts[0][:40]!r}"
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    if len(numbers) >= _FEWEST_RUNNING and steps in ({1.0}, {-1.0}):
        return f"running numbers from {numbers[0]:g} to {numbers[-1]:g}"
    whole = all(number == int(number) for number in numbers)
    if whole and len(numbers) >= _FEWEST_DISTINCT and len(set(numbers)) == len(numbers):
        return f"another whole number in each of {len(numbers):,} rows"
    return None


def _parse_label(cell: str) -> float | None:
    try:
        return parse_label(cell)
    except ValueError:
        return None
