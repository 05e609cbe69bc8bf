"""Convert decoded frames to small RGB pictures, in one pass of libswscale."""

from typing import TYPE_CHECKING, cast

from medassets.errors import Reason, SampleRejectedError
from medassets.video.files.orientation import Orientation, PictureArray, read_orientation

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

RESIZE = (
    "libswscale area, accurate_rnd, bitexact, full_chr_h_int, full_chr_h_inp; to rgb24 in one pass; "
    "matrix and range of the frame, unspecified is BT.601 limited; stretched, then turned"
)
"""The arithmetic of a kept frame, for the sample's json."""


class FrameConverter:
    """Converts frames to one size; keeps the scaler that libswscale builds for a size and format."""

    def __init__(self, height: int, width: int) -> None:
        """Make a converter.

        Args:
            height: Height of pictures, in pixels.
            width: Width of pictures, in pixels.
        """
        from av.video.reformatter import Interpolation, VideoReformatter

        self._height, self._width = height, width
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
                frame, width, height, "rgb24", interpolation=self._flags, threads=1
            )
        except FFmpegError as error:
            msg = f"pictures of format {frame.format.name} cannot be converted: {error.strerror}"
            raise SampleRejectedError(Reason.DECODE_FAILED, msg) from error
        return orientation.apply(cast("PictureArray", small.to_ndarray()))
