"""Loading of many declarations, of which some may be broken."""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import dagster as dg
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from pydantic import ValidationError

from medassets.errors import MedassetsError
from medassets.specs import DatasetSpec

_AT = re.compile(r"`(?P<path>[^`]*) at (?P<file>[^`]*?):(?P<line>\d+)`\s*\n\s*(?P<what>[^\n\[]*)")


@dataclass(frozen=True)
class Problem:
    """Why one declaration cannot be used.

    Attributes:
        file: The YAML file.
        line: Line of the field, counted from 1; 0 when it is the file as a whole.
        field: Field of the declaration, empty when it is the file as a whole.
        what: What is wrong and what was expected.
    """

    file: Path
    line: int
    field: str
    what: str

    def __str__(self) -> str:
        """Return `file:line: field: what`, as editors and terminals link it."""
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.field}: {self.what}" if self.field else f"{where}: {self.what}"


@dataclass(frozen=True)
class Declared:
    """One declared dataset.

    Attributes:
        file: The YAML file.
        spec: What it says.
    """

    file: Path
    spec: DatasetSpec


@dataclass(frozen=True)
class LoadedDatasets:
    """What could be loaded, and what could not.

    Attributes:
        definitions: Assets, checks, jobs and schedules of the good declarations.
        problems: One or more per broken declaration.
        datasets: The good declarations by dataset name.
    """

    definitions: dg.Definitions
    problems: tuple[Problem, ...]
    datasets: dict[str, Declared]


def load_datasets(folders: Iterable[Path]) -> LoadedDatasets:
    """Load every `defs.yaml` below the folders; a broken one does not hurt the others.

    Args:
        folders: Folders of declarations; a missing one is a problem, too.
    """
    problems: list[Problem] = []
    loaded: list[dg.Definitions] = []
    datasets: dict[str, Declared] = {}
    for folder in folders:
        if not folder.is_dir():
            problems.append(Problem(folder, 0, "", "there is no such folder of declarations"))
        for file in sorted(folder.rglob("defs.yaml")):
            definitions, specs, found = _load_file(file)
            problems += found or _taken(file, specs, datasets)
            if not found and not _taken(file, specs, datasets):
                loaded.append(definitions)
                datasets |= {spec.name: Declared(file, spec) for spec in specs}
    return LoadedDatasets(dg.Definitions.merge(*loaded), tuple(problems), datasets)


def _load_file(file: Path) -> tuple[dg.Definitions, list[DatasetSpec], list[Problem]]:
    """Build the definitions of one YAML file in a component tree of its own.

    One tree for all files would let a syntax error in one of them stop every other.
    """
    name = "medassets_declared_" + re.sub(r"\W", "_", str(file.parent))
    module = ModuleType(name)
    module.__path__ = [str(file.parent)]
    module.__file__ = str(file.parent / "__init__.py")
    sys.modules[name] = module
    try:
        tree = dg.ComponentTree.from_module(module, file.parent)
        definitions = tree.build_defs()
        components = tree.get_all_components(of_type=dg.Component)
        # The tree lists a component once for each way that leads to it.
        unique = {id(c): c for c in components if isinstance(c, DatasetSpec)}
        return _without_tree(definitions), list(unique.values()), []
    except (ComponentTreeException, yaml.YAMLError, dg.DagsterError, OSError) as error:
        return dg.Definitions(), [], _explain(file, error)
    finally:
        del sys.modules[name]


def _without_tree(definitions: dg.Definitions) -> dg.Definitions:
    """Return the same definitions free of their component tree; merging allows only one."""
    return dg.Definitions(
        assets=definitions.assets,
        asset_checks=definitions.asset_checks,
        jobs=definitions.jobs,
        schedules=definitions.schedules,
        sensors=definitions.sensors,
        resources=definitions.resources,
        loggers=definitions.loggers,
    )


def _taken(
    file: Path, specs: Sequence[DatasetSpec], datasets: dict[str, Declared]
) -> list[Problem]:
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    others = [name for name in names if name in datasets]
    return [
        Problem(
            file, _line_of(file, "name"), "name", f"dataset {name!r} is already declared{where}"
        )
        for name, where in [(name, " in this file") for name in twice]
        + [(name, f" in {datasets[name].file}") for name in others]
    ]


def _explain(file: Path, error: BaseException) -> list[Problem]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for cause in reversed(causes):
        if isinstance(cause, ValidationError):
            return _explain_validation(file, cause)
        if isinstance(cause, MedassetsError):
            field, _, what = str(cause).partition(": ")
            return [Problem(file, _line_of(file, field), field, what)]
        if isinstance(cause, yaml.MarkedYAMLError) and cause.problem_mark:
            what = f"not valid YAML: {cause.problem}"
            return [Problem(file, cause.problem_mark.line + 1, "", what)]
    return [Problem(file, 0, "", f"{type(causes[-1]).__name__}: {causes[-1]}")]


def _explain_validation(file: Path, error: ValidationError) -> list[Problem]:
    found = [
        Problem(
            Path(match["file"]),
            int(match["line"]),
            match["path"].removeprefix("attributes."),
            _plainly(match["what"].strip()),
        )
        for match in _AT.finditer(str(error))
    ]
    return found or [Problem(file, 0, "", str(error))]


def _plainly(what: str) -> str:
    if what.startswith("Extra inputs"):
        return "no such field; see the fields of the component's class"
    return what[:1].lower() + what[1:]


def _line_of(file: Path, field: str) -> int:
    """Return the line of `attributes.<field>`, 0 if the file does not write it."""
    for document in yaml.compose_all(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader):
        for key, value in getattr(document, "value", ()):
            if key.value == "attributes":
                for name, _ in getattr(value, "value", ()):
                    if name.value == field:
                        return name.start_mark.line + 1
    return 0
