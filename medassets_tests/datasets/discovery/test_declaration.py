from pathlib import Path
from typing import Any

import pytest
import yaml

from medassets.datasets.discovery.declaration import (
    MOST_LINES,
    check_proposal,
    make_name,
    write_yaml,
)
from medassets.datasets.discovery.proposal import Proposal
from medassets.errors import SpecError

FIELDS: dict[str, Any] = {
    "source": "folder",
    "layout": "tree",
    "folder": "/data/a b: #1",
    "columns": {"file": "on", "labels": ["Nodule > 3", "off"]},
    "table": "meta.csv",
    "splits": ["train", "valid"],
    "requires": [],
    "seed": 3,
}


def propose(**changes: Any) -> Proposal:
    return Proposal("a title", "VolumeDatasetComponent", FIELDS, **changes)


def test_yaml_reads_back_what_was_proposed() -> None:
    document = yaml.safe_load(write_yaml(propose(notes={"seed": "any # of them"}), "scans"))
    assert document["type"] == "medassets.components.VolumeDatasetComponent"
    assert document["attributes"] == {"name": "scans", **FIELDS}


def test_a_declaration_has_at_most_25_lines_whatever_the_doubts() -> None:
    text = write_yaml(propose(doubts=[f"doubt\n{n}" for n in range(40)]), "scans")
    assert len(text.splitlines()) == MOST_LINES
    assert yaml.safe_load(text)["attributes"]["seed"] == 3


@pytest.mark.parametrize(
    ("folder", "name"),
    [("My Scans (2)", "my_scans_2"), ("3mm", "dataset_3mm"), ("Größe", "gr_e"), ("_", "dataset")],
)
def test_a_name_is_made_of_the_folder(folder: str, name: str) -> None:
    assert make_name(Path("/data") / folder) == name


def test_what_loading_would_refuse_is_refused_before() -> None:
    check_proposal(propose(), "scans")
    wrong = Proposal("t", "VolumeDatasetComponent", {**FIELDS, "table": ""})
    with pytest.raises(SpecError, match="declare both or none"):
        check_proposal(wrong, "scans")
