"""Ways from a `.nii.gz` to float16 (480, 480, 240): ours, peers, and the floor under all of them.

All compute on one thread, so that CPU seconds can be compared. Peers do the same work in the same
order: clip, interpolate, scale, crop or pad, float16 last.
"""

import importlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medassets.specs import PRESETS

PRESET = PRESETS["ct_clip"]
assert PRESET.clip_hu is not None
LOW, HIGH = PRESET.clip_hu

Method = Callable[[Path], Any]


def load(name: str) -> Any:
    """Import an optional module; type checkers need not have it."""
    return importlib.import_module(name)


def run_medassets(path: Path) -> Any:
    """Preprocess as the shard pipeline does, into a reused buffer."""
    from medassets.volumes.grid.preprocessing import preprocess_volume

    return preprocess_volume(path, preset=PRESET, buffers=_buffers()).array


@cache
def _buffers() -> Any:
    from medassets.storage.buffers import BufferPool

    return BufferPool()


def run_floor(path: Path) -> Any:
    """Inflate with isal in one call, copy one output; nothing is computed."""
    from isal import isal_zlib

    isal_zlib.decompress(path.read_bytes(), 31, _num_raw_bytes(path))
    return _copy_output()


def run_stream_floor(path: Path) -> Any:
    """Inflate with isal in pieces that stay in the cache, copy one output."""
    from isal import igzip_lib

    inflate, piece = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP), 1 << 19
    with path.open("rb", buffering=0) as file:
        while not inflate.eof:
            inflate.decompress(file.read(1 << 18) if inflate.needs_input else b"", piece)
    return _copy_output()


@cache
def _outputs() -> tuple[Any, Any]:
    return np.zeros(PRESET.shape, np.float16), np.ones(PRESET.shape, np.float16)


def _copy_output() -> Any:
    target, source = _outputs()
    np.copyto(target, source)
    return target


@cache
def _num_raw_bytes(path: Path) -> int:
    image: Any = nib.load(path)
    return int(np.prod(image.shape)) * 2 + 352


def run_torch(path: Path) -> Any:
    """Read with nibabel, interpolate with torch in float32."""
    torch = load("torch")
    torch.set_num_threads(1)
    image: Any = nib.load(path)
    hu = torch.from_numpy(image.get_fdata(dtype=np.float32)).clamp_(LOW, HIGH)
    steps = zip(image.shape, image.header.get_zooms(), PRESET.spacing_mm, strict=True)
    size = [int(n * (float(step) / target)) for n, step, target in steps]
    hu = torch.nn.functional.interpolate(
        hu[None, None], size=size, mode="trilinear", align_corners=False
    )[0, 0]
    hu /= PRESET.scale
    out = torch.full(PRESET.shape, PRESET.pad_value)
    crop, pad = [], []
    for n, target in zip(size, PRESET.shape, strict=True):
        start, before = max((n - target) // 2, 0), max((target - n) // 2, 0)
        crop.append(slice(start, start + target))
        pad.append(slice(before, before + min(n, target)))
    out[tuple(pad)] = hu[tuple(crop)]
    return out.half().numpy()


def run_reference(path: Path) -> Any:
    """Preprocess as CT-CLIP's own data loader does: float64, clipped after interpolation.

    Source: https://github.com/ibrahimethemhamamci/CT-CLIP, data_inference_nii.py.
    """
    torch = load("torch")
    torch.set_num_threads(1)
    image: Any = nib.load(path)
    hu = 1.0 * image.get_fdata() + 0.0
    hu = torch.tensor(hu.transpose(2, 0, 1))[None, None]
    steps = [float(step) for step in image.header.get_zooms()]
    current, target = (steps[2], steps[0], steps[1]), (1.5, 0.75, 0.75)
    sizes = zip(hu.shape[2:], current, target, strict=True)
    size = [int(n * (step / wanted)) for n, step, wanted in sizes]
    resized = torch.nn.functional.interpolate(hu, size=size, mode="trilinear", align_corners=False)
    voxels = np.clip(np.transpose(resized[0, 0].numpy(), (1, 2, 0)), LOW, HIGH)
    tensor = torch.tensor((voxels / 1000).astype(np.float32))
    pads: list[int] = []
    for axis, wanted in enumerate(PRESET.shape):
        n = tensor.shape[axis]
        before, kept = max((wanted - n) // 2, 0), min(n, wanted)
        tensor = tensor.narrow(axis, max((n - wanted) // 2, 0), kept)
        pads[:0] = [before, wanted - kept - before]
    padded = torch.nn.functional.pad(tensor, pads, value=PRESET.pad_value)
    return padded.half().numpy()


def run_simpleitk(path: Path) -> Any:
    """Read and clip with SimpleITK, one Resample onto the final grid."""
    sitk = load("SimpleITK")
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    image = sitk.Clamp(sitk.ReadImage(str(path)), sitk.sitkInt16, LOW, HIGH)
    start, spacing = [], []
    for axis in range(3):
        n, step = image.GetSize()[axis], image.GetSpacing()[axis]
        size, target = int(n * (step / PRESET.spacing_mm[axis])), PRESET.shape[axis]
        first = max((size - target) // 2, 0) - max((target - size) // 2, 0)
        start.append(n / size * (first + 0.5) - 0.5)
        spacing.append(step * n / size)
    resample = sitk.ResampleImageFilter()
    resample.SetSize(PRESET.shape)
    resample.SetOutputSpacing(spacing)
    resample.SetOutputOrigin(image.TransformContinuousIndexToPhysicalPoint(start))
    resample.SetOutputDirection(image.GetDirection())
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetOutputPixelType(sitk.sitkFloat32)
    resample.SetDefaultPixelValue(PRESET.pad_value * PRESET.scale)
    resampled = resample.Execute(image)
    voxels = sitk.GetArrayViewFromImage(resampled) / np.float32(PRESET.scale)
    return np.ascontiguousarray(voxels.transpose(2, 1, 0).astype(np.float16))


def run_monai(path: Path) -> Any:
    """Compose the transforms of MONAI that a user would take.

    `Spacing` keeps the first voxel's centre where it was, so its grid is not quite ours.
    """
    torch, transforms = load("torch"), load("monai.transforms")
    torch.set_num_threads(1)
    pipeline = transforms.Compose(
        [
            transforms.LoadImage(image_only=True),
            transforms.EnsureChannelFirst(),
            transforms.ScaleIntensityRange(LOW, HIGH, LOW / 1000, HIGH / 1000, clip=True),
            transforms.Spacing(pixdim=PRESET.spacing_mm, mode="bilinear", padding_mode="border"),
            transforms.ResizeWithPadOrCrop(PRESET.shape, value=PRESET.pad_value),
        ]
    )
    return pipeline(str(path))[0].half().numpy()


METHODS: dict[str, Method] = {
    "medassets": run_medassets,
    "floor": run_floor,
    "stream floor": run_stream_floor,
    "SimpleITK": run_simpleitk,
    "torch": run_torch,
    "CT-CLIP reference": run_reference,
    "MONAI": run_monai,
}
"""By the name in the table."""
