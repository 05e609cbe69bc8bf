"""A mistake in YAML is reported with file, line and field, and stays alone."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.components.loading import LoadedDatasets, load_datasets
from medassets.definitions import build_definitions

GOOD = """\
type: medassets.components.VolumeDatasetComponent
attributes:
  name: mine
  source: folder
  folder: /data/ct
"""
SECOND = "---\n" + GOOD.replace("mine", "second")

# What stands in the file, and the line, field and words of the report.
MISTAKES = {
    "field of another kind": (
        GOOD + "  windows: [lung]\n",
        6,
        "windows",
        "no such field; it is a field of CTWindowDatasetComponent; see docs/fields.md",
    ),
    "unknown field": (GOOD + "  shard_sise: 128\n", 6, "shard_sise", "no such field"),
    "text for a number": (GOOD + "  samples_per_shard: many\n", 6, "samples_per_shard", "'many'"),
    "share for a count": (GOOD + "  samples_per_shard: 1.5\n", 6, "samples_per_shard", "1.5"),
    "yes for a number": (GOOD + "  num_workers: true\n", 6, "num_workers", "got true"),
    "number for a text": (GOOD.replace("mine", "7"), 3, "name", "expected a valid string, got 7"),
    "text for a list": (GOOD + "  splits: train\n", 6, "splits", "such as [train]"),
    "text in a list": (GOOD + "  target_shape: [a, 1, 2]\n", 6, "target_shape", "got 'a'"),
    "two of three": (GOOD + "  target_shape: [1, 2]\n", 6, "target_shape", "three sides"),
    "nothing": (GOOD + "  runs:\n", 6, "runs", "got None"),
    "bad choice": (GOOD + "  hu_rule: maybe\n", 6, "hu_rule", "one of none, table, header"),
    "bad source": (GOOD.replace(" folder\n", " ftp\n"), 4, "source", "huggingface, folder"),
    "out of range": (GOOD + "  max_rejected_share: 7\n", 6, "max_rejected_share", "in 0..1"),
    "not a number": (GOOD + "  max_rejected_share: .nan\n", 6, "max_rejected_share", "got nan"),
    "bad name": (GOOD.replace("mine", "My-Set"), 3, "name", "lower-case letters"),
    "bad schedule": (GOOD + "  catalog_cron: daily\n", 6, "catalog_cron", "cron"),
    "missing name": (GOOD.replace("  name: mine\n", ""), 1, "name", "missing"),
    "missing folder": (GOOD.replace("  folder: /data/ct\n", ""), 1, "folder", "path of the source"),
    "no attributes": (GOOD.splitlines()[0], 1, "attributes", "the fields of the dataset"),
    "list of attributes": ("type: a.B\nattributes: [1]\n", 2, "attributes", "fields of the"),
    "no type": (GOOD.partition("\n")[2], 1, "type", "name of a component's class"),
    "unknown type": (GOOD.replace("VolumeD", "VolD"), 1, "type", "VolDatasetComponent"),
    "unknown module": (GOOD.replace("medassets.c", "medasets.c"), 1, "type", "medasets"),
    "not a component": (GOOD.replace("components.Volume", "specs.Volume"), 1, "type", ""),
    "unknown key": (GOOD + "colour: red\n", 6, "colour", "no such field"),
    "same field twice": (GOOD + "  folder: /other\n", 6, "folder", "occurs twice"),
    "unset variable": (
        GOOD.replace("/data/ct", '"{{ env.NO_SUCH_PLACE }}"'),
        5,
        "folder",
        "is the variable of {{ env.NO_SUCH_PLACE }} set?",
    ),
    "bare template": (GOOD.replace("/data/ct", "{{ env.HOME }}"), 5, "folder", "between quotes"),
    "open bracket": (GOOD + "  splits: [train\n", 7, "", "not valid YAML"),
    "tab": (GOOD + "\tsplits: [train]\n", 6, "", "not valid YAML: found character"),
    "code": (GOOD + "  splits: !!python/name:os.system\n", 6, "", "not valid YAML"),
    "text alone": ("hello\n", 1, "", "expected `type:` and `attributes:`"),
    "empty": ("# to do\n", 0, "", "declares nothing"),
    "mistake in the second document": (
        GOOD.replace("mine", "first") + SECOND + "  runs: 3 by 3\n",
        12,
        "runs",
        "per-shard, single",
    ),
}

Load = Callable[..., LoadedDatasets]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that declares texts, a good one beside them, and loads all."""

    def load_texts(**texts: str | bytes) -> LoadedDatasets:
        for folder, text in {"neighbour": GOOD.replace("mine", "neighbour"), **texts}.items():
            file = tmp_path / folder / "defs.yaml"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_datasets([tmp_path])

    return load_texts


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_where_it_is_and_hurts_no_other(
    load: Load, tmp_path: Path, mistake: str
) -> None:
    text, line, field, words = MISTAKES[mistake]
    loaded = load(broken=text)
    (problem,) = loaded.problems
    file = tmp_path / "broken" / "defs.yaml"
    assert (problem.file, problem.line, problem.field) == (file, line, field)
    assert words in problem.what
    assert str(problem).startswith(f"{file}:{line}: " if line else f"{file}: ")
    assert "mine" not in loaded.datasets
    assert "neighbour" in loaded.datasets
    keys = build_definitions(loaded).resolve_all_asset_keys()
    assert "neighbour" in {key.path[0] for key in keys}


def test_every_mistake_of_a_file_is_reported(load: Load) -> None:
    loaded = load(broken=GOOD + "  first_typo: 1\n  runs: 3\n")
    assert {(p.line, p.field) for p in loaded.problems} == {(6, "first_typo"), (7, "runs")}


def test_a_file_that_is_not_text_is_reported(load: Load) -> None:
    (problem,) = load(broken=b"# caf\xe9\n" + GOOD.encode()).problems
    assert "not readable as YAML" in problem.what


def test_a_name_declared_twice_is_reported_at_the_second_place(load: Load, tmp_path: Path) -> None:
    loaded = load(a_first=GOOD, b_second=GOOD)
    (problem,) = loaded.problems
    assert (problem.file.parent.name, problem.line, problem.field) == ("b_second", 3, "name")
    assert f"already declared in {tmp_path}/a_first/defs.yaml" in problem.what
    assert loaded.datasets["mine"].file.parent.name == "a_first"


def test_a_name_declared_twice_in_one_file_is_reported_at_the_second_place(load: Load) -> None:
    loaded = load(both=GOOD + "---\n" + GOOD)
    assert [(p.line, p.field) for p in loaded.problems] == [(9, "name")]
    assert sorted(loaded.datasets) == ["mine", "neighbour"]


def test_several_documents_of_a_file_declare_several_datasets(load: Load) -> None:
    loaded = load(both=GOOD + "# the second one\n" + SECOND)
    assert loaded.problems == ()
    assert sorted(loaded.datasets) == ["mine", "neighbour", "second"]
    names = {key.path[0] for key in build_definitions(loaded).resolve_all_asset_keys()}
    assert names == {"mine", "neighbour", "second"}


def test_a_broken_document_does_not_hurt_the_others_of_its_file(load: Load) -> None:
    loaded = load(both=GOOD + "  shard_sise: 1\n" + SECOND)
    assert [(p.line, p.field) for p in loaded.problems] == [(6, "shard_sise")]
    assert sorted(loaded.datasets) == ["neighbour", "second"]


def test_a_folder_without_declarations_is_reported(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct" / "defs.yml").write_text("type: x")
    (problem,) = load_datasets([tmp_path]).problems
    assert str(problem).startswith(f"{tmp_path}: no <dataset>/defs.yaml in this folder")


def test_a_missing_folder_of_declarations_is_reported(tmp_path: Path) -> None:
    (problem,) = load_datasets([tmp_path / "nowhere"]).problems
    assert str(problem) == f"{tmp_path / 'nowhere'}: this folder of declarations does not exist"


def test_variables_of_the_environment_stand_in_templates(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE_OF_CT", "/mnt/ct")
    text = GOOD.replace("/data/ct", "\"{{ env('PLACE_OF_CT', '/none') }}\"")
    assert load(mine=text).datasets["mine"].spec.folder == "/mnt/ct"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("a: " + "[" * 5000 + "]" * 5000, "nested more than 100 deep"),
        ("a: " + "{x: [" * 3000, "nested more than 100 deep"),
        ("- " * 5000 + "x", "RecursionError"),
        ("a: &a [*a]\n", "stand for more than"),
        ("\n".join(["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]),
         "stand for more than"),
        ("x" * (2 << 20), "too large"),
    ],
    ids=["deep flow", "open flow", "deep block", "cycle", "bomb", "long"],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_a_hostile_file_is_a_problem_of_its_own(content: str, what: str, tmp_path: Path) -> None:
    for name, text in (("good", GOOD), ("hostile", content)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "defs.yaml").write_text(text)
    loaded = load_datasets([tmp_path])
    assert list(loaded.datasets) == ["mine"]
    (problem,) = loaded.problems
    assert problem.file == tmp_path / "hostile" / "defs.yaml"
    assert what in problem.what


@pytest.mark.timeout(20)
def test_a_pipe_named_like_a_declaration_is_a_problem_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "defs.yaml").parent.mkdir(exist_ok=True)
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "defs.yaml").write_text(GOOD)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "defs.yaml")
    loaded = load_datasets([tmp_path])
    assert (list(loaded.datasets), [p.what for p in loaded.problems]) == (
        ["mine"], ["not readable as YAML: not a regular file"]
    )  # fmt: skip


SIXTIES = "1" + ":59" * 50_000


@pytest.mark.parametrize(
    ("text", "line", "field", "what"),
    [
        (GOOD + f"  samples_per_shard: {SIXTIES}\n", 6, "samples_per_shard", "at most 100"),
        (GOOD + f"  target_shape:\n  - {SIXTIES}\n", 7, "target_shape", "at most 100"),
        (GOOD + f"  samples_per_shard: {'9' * 5000}\n", 6, "samples_per_shard", "got 5,000"),
        (GOOD + f"requirements: {{env: [{SIXTIES}]}}\n", 6, "", "at most 100"),
        (GOOD.replace("mine", "'{{ 10**100000000 }}'"), 3, "name", "pow is not allowed"),
        (GOOD.replace("mine", "\"{{ 'x'*10**10 }}\""), 3, "name", "mul is not allowed"),
        (GOOD.replace("mine", "'{% for a in range(9) %}{% endfor %}'"), 3, "name", "for is not"),
    ],
)
@pytest.mark.timeout(20)
def test_a_value_that_takes_long_to_make_is_a_problem_of_its_field(
    load: Load, text: str, line: int, field: str, what: str
) -> None:
    loaded = load(hostile=text)
    assert list(loaded.datasets) == ["neighbour"]
    (problem,) = loaded.problems
    assert (problem.line, problem.field) == (line, field)
    assert what in problem.what


@pytest.mark.parametrize("target", ["/nonexistent/x", "defs.yaml"])
def test_a_link_to_no_declaration_is_a_problem(load: Load, tmp_path: Path, target: str) -> None:
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "defs.yaml").symlink_to(target)
    loaded = load()
    assert list(loaded.datasets) == ["neighbour"]
    (problem,) = loaded.problems
    assert problem.file == tmp_path / "link" / "defs.yaml"
    assert "not readable as YAML" in problem.what
