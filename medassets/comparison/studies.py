"""Match the samples of two datasets by study, and find those without a counterpart."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medassets.comparison.tars import StudySample


@dataclass(frozen=True)
class Pair:
    """One preprocessed sample, and the originals of its study: one, unless there are duplicates."""

    preprocessed: StudySample
    originals: tuple[StudySample, ...]


@dataclass(frozen=True)
class Duplicate:
    """One study that several samples of a side have.

    Attributes:
        study_id: The study.
        side: `original` or `preprocessed`.
        samples: All that have it.
    """

    study_id: str
    side: str
    samples: tuple[StudySample, ...]

    def __str__(self) -> str:
        """Return one line."""
        places = ", ".join(sample.place for sample in self.samples)
        count = len(self.samples)
        return f"duplicate: {self.study_id}: {count} {self.side} samples have it: {places}"


@dataclass(frozen=True)
class StudySets:
    """The samples of two datasets by study.

    Attributes:
        pairs: Samples of one study, in the order of the preprocessed tars.
        missing: Originals without a preprocessed sample, one per study.
        extra: Preprocessed samples without an original, one per study.
        duplicates: Studies with several samples on one side.
    """

    pairs: list[Pair] = field(default_factory=list)
    missing: list[StudySample] = field(default_factory=list)
    extra: list[StudySample] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)


def match_studies(
    originals: Sequence[StudySample], preprocessed: Sequence[StudySample]
) -> StudySets:
    """Match samples by study, regardless of their keys and tars.

    Args:
        originals: All originals.
        preprocessed: All preprocessed samples.
    """
    sides = {"original": _by_study(originals), "preprocessed": _by_study(preprocessed)}
    before, after = sides.values()
    return StudySets(
        pairs=[Pair(s, before[s.study_id]) for s in preprocessed if s.study_id in before],
        missing=[samples[0] for study, samples in before.items() if study not in after],
        extra=[samples[0] for study, samples in after.items() if study not in before],
        duplicates=[
            Duplicate(study, side, samples)
            for side, studies in sides.items()
            for study, samples in studies.items()
            if len(samples) > 1
        ],
    )


def choose_pairs(pairs: Sequence[Pair], num_samples: int | None, *, seed: int) -> list[Pair]:
    """Return a seeded choice of pairs, spread over the preprocessed tars, in their order.

    Args:
        pairs: All pairs.
        num_samples: Number of pairs; None takes all.
        seed: Seed of the choice.
    """
    if num_samples is None or num_samples >= len(pairs):
        return list(pairs)
    rng = random.Random(seed)
    by_tar: dict[Path, list[int]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        by_tar[pair.preprocessed.tar].append(number)
    tars = list(by_tar.values())
    rng.shuffle(tars)
    for numbers in tars:
        rng.shuffle(numbers)
    # The first of every tar, then the second of every tar.
    ranked = sorted((rank, place, n) for place, t in enumerate(tars) for rank, n in enumerate(t))
    return [pairs[n] for n in sorted(n for _, _, n in ranked[:num_samples])]


def _by_study(samples: Sequence[StudySample]) -> dict[str, tuple[StudySample, ...]]:
    found: dict[str, list[StudySample]] = defaultdict(list)
    for sample in samples:
        found[sample.study_id].append(sample)
    return {study: tuple(them) for study, them in found.items()}
