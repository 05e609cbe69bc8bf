"""Texts and labels of foreign samples: what training could not read is refused."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import SourceItem, StagedFile
from medassets.volumes.reports_and_labels import SampleTexts, read_member_texts

LABELS = (1.0, 0.0, 0.5)


def read(
    folder: Path, *, text: bytes = b"ok", cls: bytes = np.array(LABELS, "<f4").tobytes()
) -> SampleTexts:
    path = folder / "shard.tar"
    with tarfile.open(path, "w") as archive:
        for suffix, content in (("txt", text), ("cls", cls)):
            info = tarfile.TarInfo(f"a.{suffix}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    row = {"text_member": "txt", "labels_member": "cls", "json_member": None}
    item = SourceItem("a", "train", "shard.tar/a", None, row)
    return read_member_texts(item, StagedFile(path, "file:shard.tar/a", None, 1, "0"))


def test_members_are_taken_over_byte_for_byte(tmp_path: Path) -> None:
    text = "kein Befund\r\nÄ \ufeff".encode()
    found = read(tmp_path, text=text)
    assert found == SampleTexts(
        text, np.array(LABELS, "<f4").tobytes(), {"label_0": 1.0, "label_1": 0.0, "label_2": 0.5}
    )


@pytest.mark.parametrize("text", [b"\xff", "Größe".encode("latin-1"), "é".encode()[:1]])
def test_text_that_is_not_utf8_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(SampleRejectedError, match="the text is not UTF-8") as caught:
        read(tmp_path, text=text)
    assert caught.value.reason == Reason.BAD_RECORD


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_labels_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    cls = np.array([1, value, 0], "<f4").tobytes()
    with pytest.raises(SampleRejectedError, match="label 1 is not a finite number") as caught:
        read(tmp_path, cls=cls)
    assert caught.value.reason == Reason.BAD_LABELS


@pytest.mark.parametrize("text", [b" " * 80, b"\n" * 70 + b"nan", b"#N/A", b'"nan"', b"nan " * 40])
def test_a_text_of_any_length_that_says_nothing_is_a_missing_report(
    tmp_path: Path, text: bytes
) -> None:
    with pytest.raises(SampleRejectedError) as caught:
        read(tmp_path, text=text)
    assert caught.value.reason is Reason.MISSING_REPORT
