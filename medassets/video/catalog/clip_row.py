"""One clip of the catalog, as what encodes it reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from medassets.video.timeline import Segment


@dataclass(frozen=True, slots=True)
class ClipRow:
    """A row of the catalog that is not excluded; each field is the column of its name.

    Attributes:
        vid: Id of the video.
        transcript: What is said.
        begin_ms: Begin in the video, as declared.
        end_ms: End in the video, as declared.
        from_ms: Begin in the file that is decoded.
        to_ms: End in that file; None is the end of the file.
        size: Sizes over the clip, at least one; None where the metadata has none.
        row: Number of the record in the metadata; None for clips that it does not contain any more.
        duration_ms: Duration of the file; None if unknown.
    """

    vid: str
    transcript: str = field(repr=False)
    begin_ms: int
    end_ms: int
    from_ms: int
    to_ms: int | None
    size: list[float] | None = field(repr=False)
    row: int | None
    duration_ms: int | None

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of the catalog; a column that an older catalog lacks is None."""
        cells: dict[str, Any] = {one.name: row.get(one.name) for one in fields(cls)}
        return cls(**cells)

    @property
    def segment(self) -> Segment:
        """The stretch of the file that is decoded."""
        return Segment(self.from_ms, self.to_ms)

    @property
    def length_s(self) -> float | None:
        """Seconds of video, None if unknown before the file is opened."""
        end_ms = self.to_ms or self.duration_ms
        return None if end_ms is None else max(end_ms - (self.from_ms or 0), 0) / 1000


def move_to_clip(row: Mapping[str, Any], duration_ms: int) -> dict[str, Any]:
    """Return the row of a clip that is decoded from a file that contains nothing else."""
    return {**row, "from_ms": 0, "to_ms": duration_ms}
