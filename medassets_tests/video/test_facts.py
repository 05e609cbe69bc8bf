"""Facts of several frames in one."""

from dataclasses import replace

from medassets.video.facts import PixelFacts, join_pixels

FACTS = PixelFacts("bt709", True, "limited", True, "bt709", "progressive", None, "area")


def test_equal_facts_stay_and_others_are_mixed() -> None:
    assert join_pixels([FACTS]) == FACTS
    assert FACTS.summary == "bt709, limited range, transfer bt709, progressive"
    assert join_pixels([FACTS, FACTS]) == FACTS
    other = replace(FACTS, matrix="smpte170m", matrix_stated=False, scan="interlaced")
    joined = join_pixels([FACTS, other])
    assert joined.summary == "mixed (not stated), limited range, transfer bt709, mixed"
    assert joined == replace(FACTS, matrix="mixed", matrix_stated=False, scan="mixed")
