"""Loading of many declarations, of which some may be broken."""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import dagster as dg
import yaml
from dagster.components.core.component_tree import ComponentTreeException
from dagster_shared.check import CheckError
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from medassets.components import (
    CTWindowDatasetComponent,
    VideoClipDatasetComponent,
    VolumeDatasetComponent,
)
from medassets.components.overrides import (
    apply_overrides,
    name_of,
    overrides_file,
    place_problem,
)
from medassets.components.yaml_lines import (
    Document,
    Problem,
    check_document,
    check_values,
    read_documents,
)
from medassets.datasets.registry import explain_unused_fields
from medassets.errors import CatalogError, MedassetsError, SpecError
from medassets.instance.declared_files import find_declarations
from medassets.reclaim.claims import Declarations
from medassets.specs import DatasetSpec
from medassets.specs.checks import suggest_name
from medassets.storage.foreign_bytes import Boundary
from medassets.storage.scratch import open_scratch

__all__ = ["Declared", "LoadedDatasets", "Problem", "load_datasets"]

_COMPONENTS = (VolumeDatasetComponent, CTWindowDatasetComponent, VideoClipDatasetComponent)

# A component may be third-party code; its errors must not affect the other declarations.
_TROUBLE = (
    ComponentTreeException,
    dg.DagsterError,
    CheckError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    yaml.YAMLError,
)


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

    @property
    def declarations(self) -> Declarations:
        """All specs, and what is wrong with the other declarations."""
        specs = tuple(declared.spec for declared in self.datasets.values())
        return Declarations(specs, tuple(map(str, self.problems)))


def load_datasets(folders: Iterable[Path]) -> LoadedDatasets:
    """Load every `defs.yaml` below the folders; a broken one does not affect the others.

    Args:
        folders: Folders of declarations; a missing one is a problem, too.
    """
    problems: list[Problem] = []
    loaded: list[dg.Definitions] = []
    datasets: dict[str, Declared] = {}
    for folder in folders:
        files, found = _find_files(folder)
        problems += found
        for file in files:
            documents, found = _read(file)
            problems += found
            for document in documents:
                definitions, specs, found = _load(document)
                found = found or _taken(document, specs, datasets)
                problems += found
                if not found:
                    loaded.append(definitions)
                    datasets |= {spec.name: Declared(file, spec) for spec in specs}
    return LoadedDatasets(dg.Definitions.merge(*loaded), tuple(problems), datasets)


def _find_files(folder: Path) -> tuple[list[Path], list[Problem]]:
    if not folder.is_dir():
        return [], [Problem(folder, 0, "", "this folder of declarations does not exist")]
    problems: list[Problem] = []

    def note(error: OSError) -> None:
        what = f"this folder cannot be read ({error.strerror})"
        problems.append(Problem(Path(error.filename), 0, "", what))

    files = find_declarations(folder, note)
    if not files and not problems:
        what = "no <dataset>/defs.yaml in this folder; that is the name a declaration must have"
        problems.append(Problem(folder, 0, "", what))
    return files, problems


def _read(file: Path) -> tuple[list[Document], list[Problem]]:
    try:
        with Boundary(_refuse):
            return _read_documents(file)
    except CatalogError as error:
        return [], [Problem(file, 0, "", str(error).removeprefix(f"{file}: "))]


def _refuse(_: Exception, what: str) -> CatalogError:
    return CatalogError(what)


def _read_documents(file: Path) -> tuple[list[Document], list[Problem]]:
    try:
        documents = read_documents(file)
    except yaml.MarkedYAMLError as error:
        return [], [_explain_syntax(file, error)]
    except OSError as error:
        return [], [Problem(file, 0, "", f"not readable as YAML: {error.strerror}")]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return [], [Problem(file, 0, "", f"not readable as YAML: {error}")]
    if not documents:
        return [], [Problem(file, 0, "", "the file declares nothing")]
    return documents, []


def _explain_syntax(file: Path, error: yaml.MarkedYAMLError) -> Problem:
    line = error.problem_mark.line + 1 if error.problem_mark else 0
    return Problem(file, line, "", f"not valid YAML: {error.problem}")


def _load(document: Document) -> tuple[dg.Definitions, list[DatasetSpec], list[Problem]]:
    try:
        with Boundary(_refuse):
            return _load_document(document)
    except CatalogError as error:
        return dg.Definitions(), [], [document.problem("", str(error))]


def _load_document(
    document: Document,
) -> tuple[dg.Definitions, list[DatasetSpec], list[Problem]]:
    problems = check_document(document)
    if problems:
        return dg.Definitions(), [], problems
    try:
        merged = apply_overrides(document)
    except (yaml.YAMLError, ValueError) as error:
        file = overrides_file(name_of(document))
        return dg.Definitions(), [], [Problem(file, 0, "", f"not readable as fields: {error}")]
    if merged is document:
        return _load_checked(document)
    definitions, specs, problems = (
        _load_checked(merged)
        if not (found := check_document(merged))
        else (dg.Definitions(), [], found)
    )
    return definitions, specs, [place_problem(problem, document) for problem in problems]


def _load_checked(
    document: Document,
) -> tuple[dg.Definitions, list[DatasetSpec], list[Problem]]:
    try:
        if document.alone:
            definitions, specs = _load_folder(document.file.parent)
        else:
            # Dagster reads whole files only, and one broken document would stop its neighbours.
            with open_scratch() as folder:
                (folder / "defs.yaml").write_text(document.text, encoding="utf-8")
                definitions, specs = _load_folder(folder)
    except _TROUBLE as error:
        return dg.Definitions(), [], _explain(document, error)
    found = [problem for spec in specs for problem in _check_fields(document, spec)]
    return definitions, specs, found


def _check_fields(document: Document, spec: DatasetSpec) -> list[Problem]:
    # A written field may have its default value, so only the document shows that it is declared.
    unused = explain_unused_fields(spec, document.attributes)
    problems = [document.problem(field, what) for field, what in unused.items()]
    return check_values(document, spec) + problems


def _load_folder(folder: Path) -> tuple[dg.Definitions, list[DatasetSpec]]:
    """Build the definitions of one YAML file in a component tree of its own.

    One tree for all files would let a mistake in one of them stop every other.
    """
    name = "medassets_declared_" + re.sub(r"\W", "_", str(folder))
    module = ModuleType(name)
    module.__path__ = [str(folder)]
    module.__file__ = str(folder / "__init__.py")
    sys.modules[name] = module
    try:
        tree = dg.ComponentTree.from_module(module, folder)
        # At the folder, not at the root, which describes every kind of component there is as JSON schema.
        definitions = tree.build_defs(folder)
        components = tree.get_all_components(of_type=dg.Component)
    finally:
        del sys.modules[name]
    # The tree lists a component once for each way that leads to it.
    unique = {id(c): c for c in components if isinstance(c, DatasetSpec)}
    return _without_tree(definitions), list(unique.values())


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
    document: Document, specs: Iterable[DatasetSpec], datasets: dict[str, Declared]
) -> list[Problem]:
    return [
        document.problem(
            "name", f"dataset {spec.name!r} is already declared in {datasets[spec.name].file}"
        )
        for spec in specs
        if spec.name in datasets
    ]


def _explain(document: Document, error: BaseException) -> list[Problem]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    for cause in reversed(causes):
        if isinstance(cause, SpecError):
            what = cause.what + _unset_variable(document, cause.field)
            return [document.problem(cause.field, what)]
        if isinstance(cause, MedassetsError):
            return [document.problem("", str(cause))]
        if isinstance(cause, ValidationError):
            return _explain_validation(document, cause)
        if isinstance(cause, yaml.MarkedYAMLError):
            return [_explain_syntax(document.file, cause)]
    last = causes[-1]
    what = f"{type(last).__name__}: {last}"
    if isinstance(last, ImportError | dg.DagsterError) and "cron" not in str(last):
        return [document.problem("type", what)]
    return [document.problem("catalog_cron" if "cron" in str(last) else "", what)]


def _unset_variable(document: Document, field: str) -> str:
    node = document.attributes.get(field)
    if isinstance(node, yaml.ScalarNode) and "env" in node.value:
        return f"; is the variable of {node.value} set?"
    return ""


def _explain_validation(document: Document, error: ValidationError) -> list[Problem]:
    found: dict[str, Problem] = {}
    for detail in error.errors():
        path = [str(part) for part in detail["loc"] if part != "attributes"]
        field = path[0] if path else ""
        # A field that also takes a template has one error for each of the two.
        found.setdefault(field, document.problem(field, _plainly(document, field, detail)))
    return list(found.values())


def _list_fields(document: Document) -> list[str]:
    """Return the fields of the component that a document declares."""
    named = document.type_name.rpartition(".")[2]
    return [
        field
        for one in _COMPONENTS
        if one.__name__ == named
        for field in sorted(one.__dataclass_fields__)
    ]


def _plainly(document: Document, field: str, detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        having = [one.__name__ for one in _COMPONENTS if field in one.__dataclass_fields__]
        if having:
            return f"no such field; it is a field of {' and '.join(having)}; see docs/fields.md"
        known = _list_fields(document)
        near = suggest_name(field, known)
        return f"no such field{near}; there are {', '.join(known)}; see docs/fields.md"
    if detail["type"] == "missing":
        return "the field is missing"
    what = detail["msg"].removeprefix("Input should be ").partition(",")[0]
    return f"expected {what}, got {detail['input']!r}"
