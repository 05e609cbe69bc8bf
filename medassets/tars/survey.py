"""All that can still be read of a tar that may be damaged, and what is wrong with it."""

from dataclasses import dataclass, field
from pathlib import Path

from medassets.errors import ShardIntegrityError
from medassets.tars.blocks import padding_bytes
from medassets.tars.scan import ScannedSample, iter_members, split_name, strip_scan_error


@dataclass
class TarSurvey:
    """What the headers of a tar say.

    Attributes:
        samples: In the order of the tar. A key may stand there several times; the last sample may
            lack members where there is damage.
        damage: Why nothing behind the last sample can be read; empty if the tar is whole.
        unclean: Keys of samples of which a member is followed by bytes that are not empty.
    """

    samples: list[ScannedSample] = field(default_factory=list)
    damage: str = ""
    unclean: list[str] = field(default_factory=list)


def survey_tar(path: Path) -> TarSurvey:
    """Read the headers of a tar as far as they can be read; never raises for what is on disk.

    Args:
        path: The tar.
    """
    survey = TarSurvey()
    try:
        with path.open("rb", buffering=0) as file:
            for name, offset, size in iter_members(path):
                parts = split_name(name)
                if parts is None:
                    continue
                sample = _find_place(survey.samples, *parts)
                sample.members.append((parts[1], offset, size))
                file.seek(offset + size)
                padding = file.read(padding_bytes(size))
                if any(padding) and sample.key not in survey.unclean[-1:]:
                    survey.unclean.append(sample.key)
    except ShardIntegrityError as error:
        survey.damage = strip_scan_error(error, path)
    except FileNotFoundError:
        survey.damage = "does not exist"
    except OSError as error:
        survey.damage = f"cannot be read ({error.strerror})"
    return survey


def _find_place(samples: list[ScannedSample], key: str, suffix: str) -> ScannedSample:
    """Return the sample that a member belongs to, a new one where it cannot be the last one."""
    last = samples[-1] if samples else None
    if last is None or last.key != key or any(suffix == other for other, _, _ in last.members):
        samples.append(ScannedSample(key))
    return samples[-1]
