"""Headers of MetaImage as they are written in the field."""

import numpy as np

from medassets.volumes.files.images.metaimage import parse_metaimage

LUNA = b"""\
ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = -198.100006 -195 -335.209991
CenterOfRotation = 0 0 0
AnatomicalOrientation = RAI
ElementSpacing = 0.7617189884185791 0.7617189884185791 2.5
DimSize = 512 512 121
ElementType = MET_SHORT
ElementDataFile = 1.3.6.1.4.1.14519.5.2.1.6279.6001.1.raw
"""


def test_a_header_of_luna16_is_read() -> None:
    header = parse_metaimage(LUNA, may_be_detached=True)
    assert header.data_name == "1.3.6.1.4.1.14519.5.2.1.6279.6001.1.raw"
    assert header.encoding == "raw"
    assert header.volume.shape == (512, 512, 121)
    assert header.volume.dtype == np.dtype("<i2")
    np.testing.assert_allclose(header.volume.affine[:3, 3], (198.100006, 195, -335.209991))


def test_rows_of_the_matrix_are_directions_and_other_names_mean_the_same() -> None:
    text = LUNA.replace(b"TransformMatrix = 1 0 0 0 1 0", b"Rotation = 0 1 0 -1 0 0")
    text = text.replace(b"Offset =", b"Origin =").replace(b"ElementSpacing =", b"elementsize=")
    volume = parse_metaimage(text, may_be_detached=True).volume
    np.testing.assert_allclose(volume.affine[:3, 0], (0, -0.7617189884185791, 0))
    np.testing.assert_allclose(volume.affine[:3, 1], (0.7617189884185791, 0, 0))
