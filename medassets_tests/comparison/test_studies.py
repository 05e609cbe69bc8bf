"""Samples of two datasets are matched by study."""

import json
from pathlib import Path

import numpy as np

from medassets.comparison.studies import choose_pairs, match_studies
from medassets.comparison.tars import StudySample, read_tar_set
from medassets.tars.lists import FoundShard
from medassets_tests.small_shards import pack_tar


def test_chosen_pairs_are_spread_and_seeded(tmp_path: Path) -> None:
    shards = []
    for tar in range(5):
        studies = [json.dumps({"study_id": f"{tar}-{n}"}).encode() for n in range(4)]
        pack_tar(tmp_path / f"{tar}.tar", {str(n): {"json": s} for n, s in enumerate(studies)})
        shards.append(FoundShard(tmp_path / f"{tar}.tar"))
    samples = read_tar_set(shards).samples
    pairs = match_studies(samples, samples).pairs
    for number in (1, 5, 7, 19, 20, 99):
        chosen = choose_pairs(pairs, number, seed=3)
        assert chosen == choose_pairs(pairs, number, seed=3)
        assert len(chosen) == min(number, 20)
        counts = np.bincount([int(pair.preprocessed.study_id[0]) for pair in chosen], minlength=5)
        assert counts.max() - counts.min() <= 1
        places = [pairs.index(pair) for pair in chosen]
        assert places == sorted(set(places))
    assert len({choose_pairs(pairs, 1, seed=seed)[0].preprocessed.place for seed in range(9)}) > 3
    assert choose_pairs(pairs, None, seed=0) == pairs


def _sample(study: str, key: str) -> StudySample:
    return StudySample(Path("a.tar"), key, study, {})


def test_every_study_is_in_a_pair_or_missing_or_extra() -> None:
    originals = [_sample(study, f"o{n}") for n, study in enumerate("abbd")]
    preprocessed = [_sample(study, f"p{n}") for n, study in enumerate("bacc")]
    sets = match_studies(originals, preprocessed)
    assert [(p.preprocessed.key, [o.key for o in p.originals]) for p in sets.pairs] == [
        ("p0", ["o1", "o2"]),
        ("p1", ["o0"]),
    ]
    assert [sample.study_id for sample in sets.missing] == ["d"]
    assert [sample.study_id for sample in sets.extra] == ["c"]
    assert [(d.study_id, d.side, len(d.samples)) for d in sets.duplicates] == [
        ("b", "original", 2),
        ("c", "preprocessed", 2),
    ]
    assert "b: 2 original samples have it: a.tar: o1, a.tar: o2" in str(sets.duplicates[0])
