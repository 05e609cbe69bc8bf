"""`/metrics` says in Prometheus' text format what `status` says, and leaves the UI alone."""

from collections.abc import Callable, Sequence

from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets.instance.metrics import serving_metrics
from medassets.testing.ct_rate import SyntheticRepository

Open = Callable[..., Workspace]

_LABELS = ("dataset", "stage", "state", "reason")


def open_client(workspaces: Sequence[Workspace]) -> TestClient:
    return TestClient(serving_metrics(PlainTextResponse("the UI"), lambda: workspaces))


def read(client: TestClient) -> dict[tuple[str, ...], float]:
    """Return each sample by its name, dataset, stage, and state and reason if it has them."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (
            sample.name.removeprefix("medassets_"),
            *(sample.labels[name] for name in _LABELS if name in sample.labels),
        ): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_it_counts_items_and_shards_by_state(
    open_folder: Open, repository: SyntheticRepository
) -> None:
    workspace = open_folder(repository.folder)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    plan = workspace.read_plan()
    first, *others = plan.partitions
    build_shard(workspace, workspace.paths, plan_shard(workspace, first))
    found = read(open_client([workspace]))
    stage = ("tiny", "shards")
    assert found["readable", *stage] == 1
    assert found["shards", *stage, "done"] == 1
    assert found["shards", *stage, "missing"] == len(others)
    assert found["items", *stage, "done"] == plan.partitions[first]
    states = ("done", "rejected", "excluded", "held", "left")
    assert sum(found["items", *stage, state] for state in states) == plan.num_rows
    reasons = plan.excluded_by_reason()
    assert reasons
    for reason, count in reasons.items():
        assert found["items_by_reason", *stage, "excluded", reason] == count
    assert found["free_bytes", *stage] > 0


def test_a_broken_dataset_hides_no_other(
    open_folder: Open, repository: SyntheticRepository
) -> None:
    good, broken, new = (
        open_folder(repository.folder, name=name) for name in ("good", "broken", "new")
    )
    for workspace in (good, broken):
        publish_catalog(workspace.paths, draft_catalog(workspace))
    broken.paths.catalog.write_bytes(b"not a catalog")
    found = read(open_client([broken, new, good]))
    assert found["readable", "broken", "shards"] == 0
    assert found["readable", "good", "shards"] == 1
    assert {key[1] for key in found} == {"broken", "good"}


def test_scrapers_share_one_look_and_other_pages_pass(
    open_folder: Open, repository: SyntheticRepository
) -> None:
    workspace = open_folder(repository.folder)
    looks: list[int] = []

    def list_workspaces() -> list[Workspace]:
        looks.append(1)
        return [workspace]

    client = TestClient(serving_metrics(PlainTextResponse("the UI"), list_workspaces))
    assert looks == []
    read(client)
    read(client)
    assert looks == [1]
    assert client.get("/graphql").text == client.get("/metrics/more").text == "the UI"
