"""Headers of NRRD as 3D Slicer and pynrrd write them."""

import numpy as np

from medassets.volumes.files.images.nrrd import parse_nrrd

SLICER = b"""NRRD0005
# Complete NRRD file format specification at:
# http://teem.sourceforge.net/nrrd/format.html
type: short
dimension: 3
space: left-posterior-superior
sizes: 256 256 130
space directions: (1,0,0) (0,1,0) (0,0,1.3)
kinds: domain domain domain
endian: little
encoding: gzip
space origin: (-133.286,-116.786,-70.7)
measurement frame: (1,0,0) (0,1,0) (0,0,1)
key:=data file: /etc/passwd

"""


def test_a_header_of_slicer_is_read_and_its_keys_are_no_fields() -> None:
    header = parse_nrrd(SLICER + b"voxels", may_be_detached=False)
    assert (header.encoding, header.data_name, header.num_bytes) == ("gzip", "", len(SLICER))
    assert header.volume.shape == (256, 256, 130)
    np.testing.assert_allclose(header.volume.pixdim_mm, (1, 1, 1.3))
    np.testing.assert_allclose(header.volume.affine[:3, 3], (133.286, 116.786, -70.7))


def test_steps_without_directions_are_steps() -> None:
    lines = [line for line in SLICER.split(b"\n") if not line.startswith(b"space")]
    text = b"\n".join(lines).replace(b"kinds", b"spacings: 2 3 4\nkinds")
    volume = parse_nrrd(text, may_be_detached=False).volume
    assert (volume.pixdim_mm, volume.affine_from) == ((2, 3, 4), "pixdim")
