"""`medassets doctor`: what the machine lacks, and never the token."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.ct_rate import SyntheticRepository
from medassets.testing.hub import LocalHub

Medassets = Callable[..., Any]
TOKEN = "hf_thisIsASecretOfSomebody"


def verdicts(ran: Any) -> dict[str, str]:
    return {finding["what"]: finding["verdict"] for finding in ran.document["findings"]}


def test_a_machine_without_a_dataset_is_looked_at(
    medassets: Medassets, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    ran = medassets("doctor")
    assert ran.code == 0
    for what in ("declarations", "Dagster instance", "data disk", "video codecs", "GPU"):
        assert what in ran.out
    found = verdicts(medassets("doctor", "--json"))
    assert found["Hugging Face token"] == "note"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with_token = medassets("doctor", "--json")
    assert verdicts(with_token)["Hugging Face token"] == "ok"
    assert TOKEN not in with_token.out + with_token.err


@pytest.mark.slow
def test_a_dataset_is_asked_for_and_its_refusal_is_a_finding(
    medassets: Medassets,
    hub_dataset: LocalHub,
    declare: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = medassets("doctor", "remote", "--json")
    assert ran.code == 0
    assert verdicts(ran)["source of remote"] == "ok"
    assert hub_dataset.sha[:12] in ran.out
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    declare("other", repo_id="org/none", endpoint=hub_dataset.endpoint)
    refused = medassets("doctor", "other")
    assert refused.code == 1
    assert f"{hub_dataset.endpoint}/datasets/org/none" in refused.out
    assert TOKEN not in refused.out + refused.err


@pytest.mark.slow
def test_a_broken_declaration_and_an_unknown_dataset(
    medassets: Medassets, declare: Callable[..., Path]
) -> None:
    declare("bad", repo_id="org/bad", shard_sise=3)
    ran = medassets("doctor", "--json")
    assert ran.code == 1
    assert verdicts(ran)["declarations"] == "bad"
    assert medassets("doctor", "nope").code == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("token", "sent", "verdict", "words"),
    [
        (TOKEN, None, "bad", "no token was sent: set HF_TOKEN"),
        (TOKEN, "hf_anotherOne", "bad", "HF_TOKEN is wrong or expired"),
        (None, TOKEN, "bad", "ask for access at"),
        (TOKEN, TOKEN, "ok", "can be read"),
    ],
    ids=["no token", "another token", "a token without access", "the right token"],
)
def test_a_gated_repository_is_ok_only_if_its_files_can_be_read(
    medassets: Medassets,
    declare: Callable[..., Path],
    repository: SyntheticRepository,
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
    sent: str | None,
    verdict: str,
    words: str,
) -> None:
    if sent is not None:
        monkeypatch.setenv("HF_TOKEN", sent)
    with LocalHub(repository.folder, "org/gated", token=token, gated=True) as hub:
        declare("gated", repo_id="org/gated", endpoint=hub.endpoint)
        ran = medassets("doctor", "gated", "--json")
        assert all(size == 0 for path, size in hub.sent_bytes().items() if path.endswith(".gz"))
    found = {finding["what"]: finding for finding in ran.document["findings"]}["source of gated"]
    assert (found["verdict"], ran.code) == (verdict, 0 if verdict == "ok" else 1)
    assert words in found["detail"]
    assert TOKEN not in ran.out + ran.err


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "verdict"), [(None, "bad"), (TOKEN, "ok")])
def test_of_a_gated_tree_without_a_table_a_volume_is_asked_for(
    medassets: Medassets,
    declare: Callable[..., Path],
    repository: SyntheticRepository,
    monkeypatch: pytest.MonkeyPatch,
    sent: str | None,
    verdict: str,
) -> None:
    if sent is not None:
        monkeypatch.setenv("HF_TOKEN", sent)
    with LocalHub(repository.folder, "org/gated", token=TOKEN, gated=True) as hub:
        declare("gated", repo_id="org/gated", endpoint=hub.endpoint, layout="tree")
        ran = medassets("doctor", "gated", "--json")
    found = {finding["what"]: finding for finding in ran.document["findings"]}["source of gated"]
    assert found["verdict"] == verdict
    assert (".nii.gz can be read" in found["detail"]) == (verdict == "ok")
