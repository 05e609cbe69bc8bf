"""Templates of a declaration: those that end at once are evaluated, others are refused."""

import pytest

from medassets.components.templates import explain_template


@pytest.mark.parametrize(
    "text",
    [
        "plain, with { and }",
        "{{ env('DATA') }}",
        "{{ env('DATA', '~/data') }}/ct",
        "{{ env.DATA }}",
        "{{ env('A') or env('B') }}",
        "{{ env('A') ~ '/x' }}",
        "{{ env('N') | int }}",
        "{{ dg.AutomationCondition.on_cron('0 3 * * *') }}",
    ],
)
def test_templates_that_end_at_once_are_allowed(text: str) -> None:
    assert not explain_template(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{{ 10**100000000 }}", "pow"),
        ("{{ 'x'*10**10 }}", "mul"),
        ("{{ 'x'.ljust(1) }}", "call"),
        ("{{ env('A').ljust(9) }}", "call"),
        ("{{ env.A.ljust(100000000000) }}", "const"),
        ("{{ '%99999999999d' % 1 }}", "mod"),
        ("{{ 'x' | center(9) }}", "filter"),
        ("{% for a in range(9) %}{% endfor %}", "for"),
        ("{% set a = 1 %}", "assign"),
        ("{{ range(1000000000) | list }}", "filter"),
    ],
)
def test_templates_that_may_not_end_are_refused_with_what_they_contain(
    text: str, named: str
) -> None:
    assert explain_template(text).startswith(f"{named} is not allowed")


@pytest.mark.parametrize("text", ["{{ 1 +", "{{ " + "(" * 5000, "{{ " + "9" * 5000 + " }}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    assert explain_template(text).startswith("not a template expression")
