"""What Dagster shows of catalogs, staged files and manifests."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from medassets.datasets.build import StageReport
from medassets.datasets.manifests.publication import Publication
from medassets.datasets.refresh import CatalogDraft
from medassets.datasets.survey import Survey
from medassets.datasets.upstream.move import Upstream
from medassets.shards.account import Account

# Further rows are left out: an event row stays under 32 KB.
_MOST_ROWS = 100
_MOST_ITEMS = 30
_MOST_CHARACTERS = 240


def account_metadata(account: Account) -> dict[str, Any]:
    """Return the account of a dataset: numbers that add up by reason, and the first items."""
    counts = account.as_dict()
    first = counts.pop("first")
    lines = [f"- {item.state}: {shorten(item.describe())}" for item in account.first[:_MOST_ITEMS]]
    named = {"medassets/first_items": dg.MetadataValue.md("\n".join(lines))} if first else {}
    return {
        "medassets/account": dg.MetadataValue.json(counts),
        "medassets/account_line": account.describe(),
        **named,
    }


def shorten(line: str) -> str:
    """Leave out the middle: lines begin with a path, and end with the sample and what is wrong."""
    if len(line) <= _MOST_CHARACTERS:
        return line
    return f"{line[: _MOST_CHARACTERS // 4]} … {line[-3 * _MOST_CHARACTERS // 4 :]}"


def catalog_metadata(
    draft: CatalogDraft, account: Account, described: Mapping[str, Any]
) -> dict[str, Any]:
    """Return counts by state, split and reason, the revision, and what is new.

    Args:
        draft: The catalog.
        account: State of all source items.
        described: What its kind says of it.
    """
    plan = draft.plan
    previous = draft.previous_plan
    table = [
        dg.TableRecord(
            {"split": split, "shards": len(keys), "samples": sum(plan.partitions[k] for k in keys)}
        )
        for split, keys in plan.splits().items()
    ]
    return {
        "dagster/row_count": plan.num_rows,
        "medassets/planned": sum(plan.partitions.values()),
        "medassets/held": plan.num_held,
        "medassets/excluded": dg.MetadataValue.json(plan.excluded_by_reason()),
        "medassets/splits": dg.MetadataValue.table(table) if table else "none",
        "medassets/shards": len(plan.partitions),
        "medassets/new_shards": len(draft.new_partitions),
        "medassets/restored_shards": len(draft.restored),
        "medassets/new_rows": plan.num_rows - (previous.num_rows if previous else 0),
        "medassets/source": draft.source_uri,
        "medassets/revision": draft.revision or "none",
        **_upstream_metadata(draft.upstream),
        **account_metadata(account),
        **coverage_metadata(described),
    }


def _upstream_metadata(upstream: Upstream | None) -> dict[str, Any]:
    if upstream is None:
        return {}
    return {"medassets/upstream": dg.MetadataValue.json(upstream.as_dict())}


def coverage_metadata(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a kind says of its catalog, as a table with a row per number."""
    if not described:
        return {}
    rows = [dg.TableRecord({"what": name, "value": v}) for name, v in _flatten(described)]
    return {"medassets/coverage": dg.MetadataValue.table(rows)}


def _flatten(described: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in described.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}: ")
        else:
            listed = isinstance(value, list | tuple)
            yield prefix + name, ", ".join(map(str, value)) if listed else str(value)


def stage_metadata(report: StageReport) -> dict[str, Any]:
    """Return what lies in staging for one shard, or why nothing does."""
    left = {"medassets/left_to_shards": report.left} if report.left else {}
    return {
        "medassets/files": report.num_files,
        "medassets/bytes": report.num_bytes,
        "medassets/needed": report.needed,
        "medassets/rejected": dg.MetadataValue.json(
            dict(list(report.rejected.items())[:_MOST_ROWS])
        ),
        **left,
    }


def manifest_metadata(publication: Publication) -> dict[str, Any]:
    """Return totals and a table of shards, and why manifests stay as they were."""
    manifests = publication.everything
    rows = [
        dg.TableRecord(
            {
                "split": split,
                "shard": shard["filename"],
                "samples": shard["num_samples"],
                "bytes": shard["size_bytes"],
            }
        )
        for split, manifest in manifests.items()
        for shard in manifest["shards"]
    ]
    names = ("total_shards", "total_samples", "total_size_bytes", "complete", "account")
    totals = {split: {name: m.get(name) for name in names} for split, m in manifests.items()}
    for split, total in totals.items():
        total["account"] = {k: v for k, v in (total["account"] or {}).items() if k != "first"}
        total["stale"] = len(manifests[split].get("stale_partitions", ()))
    kept = {"medassets/kept": dg.MetadataValue.md("\n".join(f"- {x}" for x in publication.lines()))}
    return {
        "dagster/row_count": sum(m["total_samples"] for m in manifests.values()),
        "medassets/totals": dg.MetadataValue.json(totals),
        "medassets/shards": dg.MetadataValue.table(rows[:_MOST_ROWS]) if rows else "none",
        **(kept if publication.lines() else {}),
    }


def survey_metadata(survey: Survey) -> dict[str, Any]:
    """Return axis codes and shares of HU of a dataset, and the volumes that differ from the others."""
    return {
        **{name: dg.MetadataValue.json(dict(value)) for name, value in survey.facts.items()},
        "outliers": len(survey.outliers),
        **problems_metadata(survey.lines()),
    }


def problems_metadata(problems: Sequence[str]) -> dict[str, Any]:
    """Return how many problems there are and the first of them."""
    lines = "\n".join(f"- {problem}" for problem in problems[:_MOST_ROWS])
    return {"problems": len(problems), "first": dg.MetadataValue.md(lines or "none")}
