"""Facts of several frames in one."""

from dataclasses import replace

from medassets.video.facts import PixelFacts, join_pixels

FACTS = PixelFacts("bt709", True, "limited", True, "bt709", "progressive", None, "area")


def test_equal_facts_stay_and_others_are_mixed() -> None:
    assert join_pixels([FACTS]) == FACTS
    assert join_pixels([FACTS, FACTS]) == FACTS
    other = replace(FACTS, matrix="smpte170m", matrix_stated=False, scan="interlaced")
    joined = join_pixels([FACTS, other])
    assert joined == replace(FACTS, matrix="mixed", matrix_stated=False, scan="mixed")
