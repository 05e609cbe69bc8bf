"""What was planned before: keys with path, split and patient, without rows that have no shard."""

import pyarrow as pa

from medassets.volumes.catalog.tree.planned import Planned


def test_planned_rows_are_known_by_key() -> None:
    table = pa.table(
        {
            "key": ["a", "b", "c"],
            "path": ["a.nii", "b.nii", None],
            "partition": ["train-000000", "valid-000001", None],
            "patient": ["p", None, "q"],
        }
    )
    before = Planned.of(table)
    assert before.paths == {"a": "a.nii", "b": "b.nii"}
    assert before.splits == {"a": "train", "b": "valid"}
    assert before.patients == {"a": "p"}
    assert before.figures is None
    assert Planned.of(table.drop_columns(["patient"])).patients == {}
    assert Planned.of(None) == Planned(None, {}, {}, {})
