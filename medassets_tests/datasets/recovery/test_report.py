"""What a reconciliation tells."""

from medassets.datasets.recovery.report import ReconcileReport, StageReport


def test_a_dry_run_is_settled_only_if_nothing_is_to_be_done() -> None:
    report = ReconcileReport("tiny", is_dry_run=True, stages=[StageReport("shards")])
    assert report.is_settled
    report.stages[0].reported.append("train-000000")
    assert not report.is_settled
    assert report.lines() == ["shards: 1 whole shards would be recorded"]
    done = ReconcileReport("tiny", stages=report.stages)
    assert done.is_settled
    assert done.lines() == ["shards: 1 whole shards recorded"]


def test_problems_of_all_stages_are_left() -> None:
    stages = [StageReport("frames", problems=["a"]), StageReport("clips", problems=["b"])]
    report = ReconcileReport("tiny", stages=stages)
    assert (report.problems, report.is_settled) == (["a", "b"], False)
    assert report.as_dict()["problems"] == ["a", "b"]
