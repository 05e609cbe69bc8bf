"""From a declaration to the kind of dataset it declares."""

from medassets.datasets.kind import DatasetKind
from medassets.datasets.volumes import VolumeDataset
from medassets.errors import SpecError
from medassets.specs import DatasetSpec, VolumeDatasetSpec


def open_kind(spec: DatasetSpec) -> DatasetKind:
    """Return the kind of dataset behind a declaration.

    Raises:
        SpecError: If no kind takes this sort of declaration.
    """
    if isinstance(spec, VolumeDatasetSpec):
        return VolumeDataset(spec)
    msg = (
        f"name: {spec.name!r} is declared as {type(spec).__name__}, which no kind of dataset takes"
    )
    raise SpecError(msg)
