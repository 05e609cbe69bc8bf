"""What a catalog states of its tree survives writing, and reads as a sentence."""

import pyarrow as pa

from medassets.volumes.catalog.tree.figures import (
    FIGURES_KEY,
    JoinFigures,
    TreeFigures,
    read_figures,
)

JOIN = JoinFigures("m.csv", "stem", 4, 1, 2, 3, 6, 1)
FIGURES = TreeFigures(
    prefix=["a"],
    split_by="hash",
    patients_from="folder",
    patients={"train": 3},
    leaks={"p": ["train", "valid"]},
    join=JOIN,
    num_others=5,
    hidden_folders=[".git"],
    doubts=["a doubt"],
)


def test_figures_are_read_as_they_were_written() -> None:
    table = pa.table({"key": ["a"]}).replace_schema_metadata({FIGURES_KEY: FIGURES.encode()})
    assert read_figures(table) == FIGURES
    bare = TreeFigures([], "folder", "file", {}, hidden_folders=[], doubts=[])
    assert read_figures(table.replace_schema_metadata({FIGURES_KEY: bare.encode()})) == bare
    assert read_figures(table.replace_schema_metadata(None)) is None
    assert read_figures(None) is None


def test_a_join_is_described_with_all_its_counts() -> None:
    sentence = (
        "m.csv, joined by stem: 4 files have a row, 1 have none, 2 ambiguous; 3 rows have a file, 6 have "
        "none, 1 repeated"
    )
    assert JOIN.describe() == sentence
    assert FIGURES.describe()["join"]["sentence"] == sentence
