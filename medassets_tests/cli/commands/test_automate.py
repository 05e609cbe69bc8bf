"""`medassets automate`, and what `status` says of automation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Medassets = Callable[..., Any]
Declare = Callable[..., Path]


def test_the_command_says_and_changes_whether_a_dataset_is_automated(
    medassets: Medassets, lungs: Declare
) -> None:
    assert medassets("automate", "lungs").out == "lungs: automation: off (declared)\n"
    ran = medassets("automate", "lungs", "on")
    assert ran.code == 0
    assert ran.out == "automation: on (by command; declared off)\n"
    assert "declare automation: on, or start lungs_catalog_schedule in the UI" in ran.err
    assert medassets("automate", "lungs", "--json").document["automation"] == {
        "on": True,
        "declared": False,
        "by_command": "on",
        "waits_for": None,
        "tries": {},
    }
    lungs(automation="on")
    assert (
        medassets("automate", "lungs", "off").out == "automation: off (by command; declared on)\n"
    )
    ran = medassets("automate", "lungs", "declared")
    assert (ran.out, ran.err) == ("automation: on (declared)\n", "")


def test_a_wrong_word_or_dataset_is_a_usage_error(medassets: Medassets, lungs: Declare) -> None:
    assert medassets("automate", "lungs", "maybe").code == 2
    assert medassets("automate", "lung").code == 2
