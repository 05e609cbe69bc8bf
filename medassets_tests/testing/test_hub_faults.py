"""Planned faults and recorded requests of a local hub."""

import httpx2
import pytest

from medassets.testing.hub import LocalHub
from medassets.testing.hub_faults import FaultPlan
from medassets_tests.testing.small_hub import BIG, url_of


def test_faults_are_counted_by_path_and_attempt(hub: LocalHub) -> None:
    hub.fail("unavailable", "data/*", skip=1, times=2)
    small, readme = url_of(hub, "data/small.txt"), url_of(hub, "README.md")
    assert [httpx2.get(small).status_code for _ in range(4)] == [200, 503, 503, 200]
    assert httpx2.get(readme).status_code == 200
    hub.fail("unavailable", times=None)
    hub.heal()
    assert httpx2.get(readme).status_code == 200


def test_requests_are_remembered(hub: LocalHub) -> None:
    httpx2.get(url_of(hub, BIG), headers={"Range": "bytes=7-"}, follow_redirects=True)
    assert [(r.server, r.place, r.path, r.range_start) for r in hub.requests()] == [
        ("hub", "resolve", BIG, 7),
        ("cdn", "body", BIG, 7),
    ]
    hub.forget_requests()
    assert hub.requests() == []


def test_unknown_fault_is_refused(hub: LocalHub) -> None:
    with pytest.raises(ValueError, match="kind: expected one of"):
        hub.fail("explode")  # pyright: ignore[reportArgumentType]


def test_a_fault_happens_at_its_place_only() -> None:
    plan = FaultPlan()
    plan.add("truncate", "a/*", at_byte=3)
    plan.add("rate_limit", place="tree")
    assert plan.take("resolve", "a/b") is None
    assert plan.take("body", "b/a") is None
    body, tree = plan.take("body", "a/b"), plan.take("tree", None)
    assert body is not None
    assert (body.kind, body.place, body.at_byte) == ("truncate", "body", 3)
    assert tree is not None
    assert tree.kind == "rate_limit"
    assert plan.take("body", "a/b") is None
