from medassets.datasets.discovery.proposal import shorten


def test_long_lists_say_how_many_are_left_out() -> None:
    assert shorten(["a", "b"]) == "a, b"
    assert shorten(list("abcde"), 2) == "a, b and 3 more"
