"""Which columns of a table are labels: the declared ones, or all that cannot be anything else."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Collection, Sequence

from medassets.errors import CatalogError
from medassets.storage.formats.csv_tables import CsvTable, parse_number
from medassets.storage.formats.label_rules import LabelRules
from medassets.storage.formats.label_types import check_stored
from medassets.storage.formats.missing import is_missing
from medassets.volumes.catalog.label_column_names import is_identifier_name, is_index_name

KEY_COLUMN = "VolumeName"
"""Column by which tables are joined."""

_PLAIN = re.compile(r"[A-Za-z][\w ]*", re.ASCII)
_FEWEST_RUNNING = 3
_FEWEST_COUNTED = 5
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
    if is_index_name(name):
        return "an index by its name"
    if is_identifier_name(name):
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
    if all(number == int(number) for number in numbers):
        return _find_counting(numbers)
    return None


def _find_counting(numbers: Sequence[float]) -> str | None:
    """Return how whole numbers number the rows, or those of several tables one after another."""
    distinct = sorted(set(numbers))
    if len(distinct) < _FEWEST_COUNTED:
        return None
    starts = [n for n, number in enumerate(numbers) if number == numbers[0]]
    steps = {b - a for n, (a, b) in enumerate(itertools.pairwise(numbers)) if n + 1 not in starts}
    if len(starts) > 1 and steps == {1.0}:
        return f"running numbers from {distinct[0]:g}, {len(starts):,} times"
    counts = set(Counter(numbers).values())
    if len(distinct) < _FEWEST_DISTINCT or len(counts) > 1:
        return None
    if counts == {1}:
        return f"another whole number in each of {len(numbers):,} rows"
    is_whole_range = distinct[-1] - distinct[0] == len(distinct) - 1
    return (
        f"each number from {distinct[0]:g} to {distinct[-1]:g} as often" if is_whole_range else None
    )


def _parse_label(cell: str) -> float | None:
    try:
        return parse_label(cell)
    except ValueError:
        return None
