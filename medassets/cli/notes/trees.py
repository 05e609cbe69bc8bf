"""Lines about a tree of files: how its table was joined, and how patients and splits were found."""

from collections.abc import Mapping
from typing import Any

_FROM = {
    "column": "patients, by the table",
    "folder": "patients, by folder",
    "file": "files, of which nothing names the patient",
    "tag": "patients, by PatientID",
}
_BY = {
    "folder": "by the names of folders",
    "column": "by the table",
    "hash": "by a seeded hash",
}


def describe_tree(described: Mapping[str, Any]) -> list[str]:
    """Return what a person should know of a tree; empty for other sources.

    Args:
        described: What a kind says of its catalog.
    """
    tree: Mapping[str, Any] = described.get("tree", {})
    if not tree:
        return []
    lines = _describe_dicom(described)
    if tree["join"] is not None:
        lines.append(f"table {tree['join']['sentence']}")
    patients: Mapping[str, int] = tree["patients"]
    counts = ", ".join(f"{split} {count:,}" for split, count in patients.items())
    lines.append(f"splits {_BY[tree['split_by']]}: {counts} ({_FROM[tree['patients_from']]})")
    if leaks := tree["leaks"]:
        shown = ", ".join(list(leaks)[:3])
        lines.append(f"accepted: {len(leaks):,} patients are in several splits, such as {shown}")
    if hidden := tree["hidden_folders"]:
        lines.append(f"hidden folders, not entered: {len(hidden):,}, such as {hidden[0]}")
    return [*lines, *(f"doubt: {doubt}" for doubt in tree["doubts"])]


def _describe_dicom(described: Mapping[str, Any]) -> list[str]:
    dicom: Mapping[str, Any] = described.get("dicom", {})
    if not dicom:
        return []
    counts = f"{dicom['num_files']:,} files in {dicom['num_series']:,} series, {dicom['num_volumes']:,} volumes"
    more = {
        "of them parts of a series": dicom["num_parts"],
        "files repeat a slice": dicom["num_copies"],
        "other files": dicom["num_others"],
    }
    lines = [", ".join([f"DICOM: {counts}", *(f"{n:,} {what}" for what, n in more.items() if n)])]
    if reasons := dicom["files_by_reason"]:
        listed = ", ".join(f"{reason} {number:,}" for reason, number in reasons.items())
        lines.append(f"files in no volume: {listed}")
    return lines


def describe_texts(described: Mapping[str, Any]) -> list[str]:
    """Return how many samples have a report and labels, where not all must have both."""
    counts: Mapping[str, int] = described.get("texts", {})
    if not counts:
        return []
    volumes = f"of {counts['samples']:,} samples"
    return [f"reports: {counts['report']:,} {volumes}; labels: {counts['labels']:,}"]
