"""Tables beside DICOM: proposed where a column names series, and no cell of them is shown."""

from pathlib import Path

import pytest

from medassets.datasets.discovery.declaration import check_proposal, write_yaml
from medassets.datasets.discovery.looking import propose
from medassets.datasets.discovery.proposal import Hints, Proposal
from medassets.errors import UsageError
from medassets_tests.dicoms import PERSON, ROOT_UID, Dataset, write_series

SECRETS = ("Duck", "7313742", "7777", ROOT_UID)


def fill(top: Path, *, person: dict[str, str] | None = None) -> None:
    for number in range(3):

        def state(_: int, dataset: Dataset, number: int = number) -> None:
            dataset.AccessionNumber = f"7777{number}"

        folder = top / f"Duck{number}" / "scan"
        write_series(
            folder,
            number=number,
            num_slices=3,
            person=PERSON if person is None else person,
            change=state,
        )


def write_table(top: Path, names: list[str], header: str = "id,Report,nodule,set,patient") -> None:
    sets = ("train", "val", "test")
    rows = [f"{name},lungs are clear,{n % 2},{sets[n]},{n}" for n, name in enumerate(names)]
    (top / "reports.csv").write_text("\n".join([header, *rows]) + "\n")


def say(proposal: Proposal) -> str:
    return f"{proposal.title} {proposal.facts} {proposal.doubts} {write_yaml(proposal, 'scans')}"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("SeriesInstanceUID", [f"{ROOT_UID}.{n}.3" for n in range(3)]),
        ("StudyInstanceUID", [f"{ROOT_UID}.{n}.2" for n in range(3)]),
        ("AccessionNumber", [f"7777{n}" for n in range(3)]),
        ("folder", [f"Duck{n}" for n in range(3)]),
        ("folder", [f"Duck{n}/scan" for n in range(3)]),
    ],
)
def test_a_table_that_names_series_is_proposed(tmp_path: Path, kind: str, names: list[str]) -> None:
    fill(tmp_path)
    write_table(tmp_path, names)
    proposal = propose(tmp_path, Hints())
    assert proposal.fields["table"] == "reports.csv"
    assert proposal.fields["columns"] == {
        "file": "id",
        "report": ["Report"],
        "labels": ["nodule"],
        "split": "set",
    }
    assert proposal.fields["requires"] == []
    assert (proposal.fields["splits"], proposal.fields["split_by"]) == (
        ["train", "valid", "test"],
        "column",
    )
    assert f"id holds the {kind} of 9 of 9 files looked at" in say(proposal)
    assert not [text for text in SECRETS if text in say(proposal)]
    check_proposal(proposal, "scans")


def test_patients_are_those_of_the_table_where_files_state_none(tmp_path: Path) -> None:
    fill(tmp_path, person={})
    write_table(tmp_path, [f"Duck{n}" for n in range(3)])
    assert propose(tmp_path, Hints()).fields["columns"]["patient"] == "patient"


def test_a_table_that_says_nothing_of_series_is_not_used(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "metadata.csv").write_text(
        "Series UID,Size\n" + "\n".join(f"{ROOT_UID}.{n}.3,{n} MB" for n in range(3)) + "\n"
    )
    proposal = propose(tmp_path, Hints())
    assert "table" not in proposal.fields
    assert any("names series, and has no column that is certain" in one for one in proposal.doubts)
    assert not [text for text in SECRETS if text in say(proposal)]


def test_what_the_user_names_is_taken_or_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    write_table(tmp_path, ["other", "names", "here"])
    with pytest.raises(UsageError, match=r"--table.*no column of reports.csv names series"):
        propose(tmp_path, Hints(table="reports.csv"))
    with pytest.raises(UsageError, match=r"--columns.*no column of reports.csv names series"):
        propose(tmp_path, Hints(columns={"report": ["Report"]}))
    columns = {"file": "id", "report": ["Report"]}
    proposal = propose(tmp_path, Hints(table="reports.csv", columns=columns))
    assert proposal.fields["columns"] == columns
    with pytest.raises(UsageError, match="has no column nothing"):
        propose(tmp_path, Hints(table="reports.csv", columns={"file": "nothing"}))
    (tmp_path / "reports.csv").unlink()
    with pytest.raises(UsageError, match="there is no table"):
        propose(tmp_path, Hints(columns=columns))
