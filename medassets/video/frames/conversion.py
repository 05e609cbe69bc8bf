"""Convert decoded frames to small RGB pictures, in one pass of libswscale."""

from typing import TYPE_CHECKING, cast

from medassets.errors import Reason, SampleRejectedError
from medassets.video.facts import PixelFacts
from medassets.video.files.cropping import Crop
from medassets.video.files.orientation import Orientation, PictureArray, read_orientation
from medassets.video.files.picture_filter import PictureFilter, describe_scan

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

RESIZE = (
    "libswscale area, accurate_rnd, bitexact, full_chr_h_int, full_chr_h_inp; to rgb24 in one pass; "
    "matrix and range of the frame, unspecified is BT.601 limited; transfer unchanged; cropped as the "
    "container says; of an interlaced frame the upper field; stretched, then turned"
)
"""The arithmetic of a kept frame, for the sample's json."""

FILTER = "area"

# Numbers of ITU-T H.273, names of FFmpeg; libswscale refuses other matrices.
_MATRICES = {
    1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc",
}  # fmt: skip
_DEFAULT_MATRIX = "smpte170m"
_TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100",
    10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10",
    15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67",
}  # fmt: skip
_FULL_RANGE = 2
# Formats whose values are full range by their name.
_FULL_FORMATS = ("yuvj", "gray", "ya", "mono")


def describe_pixels(frame: "VideoFrame", crop: Crop | None) -> PixelFacts:
    """Return how a frame is converted: what it states, and what is decided where it states nothing.

    Args:
        frame: As decoded.
        crop: What the container cuts away.
    """
    matrix, value_range = int(frame.colorspace), int(frame.color_range)
    is_rgb = frame.format.is_rgb or frame.format.name == "pal8"
    is_full = is_rgb or value_range == _FULL_RANGE or frame.format.name.startswith(_FULL_FORMATS)
    return PixelFacts(
        matrix="rgb" if is_rgb else _MATRICES.get(matrix, _DEFAULT_MATRIX),
        matrix_stated=is_rgb or matrix in _MATRICES,
        range="full" if is_full else "limited",
        range_stated=is_rgb or value_range > 0,
        transfer=_TRANSFERS.get(int(frame.color_trc), "unspecified"),
        scan=describe_scan(frame),
        crop=None if crop is None else (crop.left, crop.top, crop.right, crop.bottom),
        filter=FILTER,
    )


class FrameConverter:
    """Converts frames to one size; keeps the scaler that libswscale builds for a size and format."""

    def __init__(self, height: int, width: int, *, crop: Crop | None = None) -> None:
        """Make a converter.

        Args:
            height: Height of pictures, in pixels.
            width: Width of pictures, in pixels.
            crop: What the container cuts away.
        """
        from av.video.reformatter import Interpolation, VideoReformatter

        self._height, self._width = height, width
        self._filter = PictureFilter(crop)
        self._reformatter = VideoReformatter()
        # Without bitexact and accurate_rnd pixels depend on the processor's instruction set.
        self._flags = (
            Interpolation.AREA
            | Interpolation.ACCURATE_RND
            | Interpolation.BITEXACT
            | Interpolation.FULL_CHR_H_INT
            | Interpolation.FULL_CHR_H_INP
        )

    def convert(self, frame: "VideoFrame", orientation: Orientation | None = None) -> PictureArray:
        """Return a frame as displayed, stretched to the converter's size.

        The picture is resized first and then rotated: rotating the small one is cheaper.

        Args:
            frame: As decoded.
            orientation: Rotation and mirroring; None reads it from the frame.

        Returns:
            uint8, axes (h, w, c), c = R, G, B; perhaps a view with negative strides.

        Raises:
            SampleRejectedError: DECODE_FAILED if its pixel format is not supported.
        """
        from av.error import FFmpegError

        orientation = read_orientation(frame) if orientation is None else orientation
        height, width = self._height, self._width
        if orientation.swaps_sides:
            height, width = width, height
        try:
            small = self._reformatter.reformat(
                self._filter.apply(frame),
                width,
                height,
                "rgb24",
                interpolation=self._flags,
                threads=1,
            )
        except FFmpegError as error:
            msg = f"pictures of format {frame.format.name} cannot be converted: {error.strerror}"
            raise SampleRejectedError(Reason.DECODE_FAILED, msg) from error
        return orientation.apply(cast("PictureArray", small.to_ndarray()))
