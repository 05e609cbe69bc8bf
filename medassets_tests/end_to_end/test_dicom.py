"""DICOM by the command: two commands to shards, and nothing that is written names a person."""

import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydicom.dataset import Dataset

from medassets.cli.main import run
from medassets_tests.dicoms import PERSON, ROOT_UID, Written, write_series

pytestmark = pytest.mark.slow

DECLARATION = """\
type: medassets.components.VolumeDatasetComponent
attributes:
  name: clinic
  source: dicom
  folder: {folder}
  splits: [train]
  target_spacing_mm: [11.0, 12.0, 18.0]
  target_shape: [30, 22, 15]
  max_excluded_share: 1.0
  tags: [KVP]
  table: reports.csv
  columns: {{file: accession, patient: who, report: [text], metadata: [scanner]}}
  requires: []
  expected_orientation: LPS
  delete_sources: true
"""
SECRETS = (
    "A7313742",
    "B7313742",
    "Duck",
    "Donald",
    "Fauntleroy",
    "7313742",
    "19340609",
    ROOT_UID,
    "Quackwerk",
)


def fill(top: Path) -> Written:
    """Write good and bad series below folders and under names that name the patient; return the good one."""

    def state(_: int, dataset: Dataset) -> None:
        dataset.KVP, dataset.InstitutionName = "120", "Quackwerk"
        dataset.AccessionNumber = "A7313742"

    def cut(k: int, dataset: Dataset) -> None:
        state(k, dataset)
        dataset.ImageComments = f"{PERSON['PatientName']} {PERSON['PatientBirthDate']}"

    folder = top / PERSON["PatientName"] / PERSON["PatientID"]
    good = write_series(folder / "good", change=state, prefix=f"{ROOT_UID}.")
    missing = write_series(folder / "missing", number=1, change=state, prefix="Duck-")
    missing.paths[4].unlink()
    cut_series = write_series(folder / "cut", number=2, change=cut, prefix="Duck-")
    content = cut_series.paths[16].read_bytes()
    cut_series.paths[16].write_bytes(content[: len(content) // 2])
    write_series(folder / "scout", number=3, num_slices=1, change=state)
    (folder / "Duck-link").symlink_to(folder / "nothing")
    (top / PERSON["PatientName"] / "notes.txt").write_text("Donald Fauntleroy Duck")
    rows = [
        "accession,who,text,scanner",
        "A7313742,Duck,lungs are clear,X9",
        "B7313742,Duck,none,X9",
    ]
    (top / "reports.csv").write_text("\n".join(rows))
    return good


def is_in(secret: str, content: bytes) -> bool:
    """Tell whether a text is in a file, and not as a part of a longer number such as a checksum."""
    texts = (secret.encode(), secret.encode("utf-16-le"))
    return any(
        re.search(rb"(?<![0-9a-f])" + re.escape(text) + rb"(?![0-9a-f])", content) for text in texts
    )


def iter_written(top: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file with its content, and what compressed files say."""
    for path in sorted(top.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        yield path.name, content
        if path.suffix == ".parquet":
            table = pq.read_table(io.BytesIO(content))
            yield path.name, str([table.schema.metadata, table.to_pylist()]).encode()
        elif content[:2] == b"\x1f\x8b":
            yield path.name, zlib.decompress(content, 31)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run([*arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_nothing_that_is_written_or_said_names_a_patient(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = fill(tmp_path / "archive")
    declared = tmp_path / "declared" / "clinic" / "defs.yaml"
    declared.parent.mkdir(parents=True)
    declared.write_text(DECLARATION.format(folder=tmp_path / "archive"))
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    said: list[str] = []
    for arguments in (
        ("plan", "clinic"),
        ("build", "clinic"),
        ("verify", "clinic"),
        ("status", "clinic"),
        ("status", "clinic", "--json"),
        ("inspect", str(home / "data" / "clinic" / "train" / "shard-000000.tar")),
        ("reclaim", "clinic"),
    ):
        code, text = call(capsys, *arguments)
        assert code == 0, text
        said.append(text)
    everything = "\n".join(said)
    for reason in ("missing_slice", "corrupt_dicom", "too_few_slices", "missing_source"):
        assert reason in everything
    assert f"({len(written.paths)} files)" in said[-1]
    code, text = call(capsys, "reclaim", "clinic", "--delete-sources", "--yes")
    assert code == 0, text
    assert "1 source deleted" in text
    assert not any(path.exists() for path in written.paths)
    said.append(text)
    later = (("plan", "clinic"), ("build", "clinic", "--force"), ("reclaim", "clinic"))
    said += [call(capsys, *arguments)[1] for arguments in later]
    assert "sources were deleted" in said[-2]
    spoken = "\n".join(said).encode()
    found = [
        (secret, name)
        for name, content in (*iter_written(home), ("what is said", spoken))
        for secret in SECRETS
        if is_in(secret, content)
    ]
    assert found == []
    tar = (home / "data" / "clinic" / "train" / "shard-000000.tar").read_bytes()
    assert b"lungs are clear" in tar
    assert b'"scanner"' in tar
