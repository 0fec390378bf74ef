"""What halts a job, at each edge: one failure fewer does not, and what is told is counted."""

from __future__ import annotations

import msgspec
import pytest

from bulkhooks.halting import Counted, Halting, sentences
from bulkhooks.items import State
from bulkhooks.schedule import Rule

#: How items end, by a letter; `g`: the tenant is given up.
ENDS = {
    "f": State.FAILED,
    "u": State.UNCERTAIN,
    "a": State.APPLIED,
    "n": State.UNCHANGED,
    "s": State.SKIPPED,
    "g": None,
}
THIRD = Rule(of="failures", count=3)
ROW = Rule(of="in_a_row", count=3)
TWO = Rule(of="tenants", count=2)


def heard(rules: list[Rule], ends: str, items: int = 10) -> list[str]:
    """What is said to each end: `f` is of tenant `t`, `f2` of tenant `2`; `|`: another call goes on
    from what was counted."""
    halting = Halting(rules, items, Counted())
    said = []
    for place, letter in enumerate(ends):
        if letter == "|":
            kept = msgspec.json.encode(halting.counted)
            halting = Halting(rules, items, msgspec.json.decode(kept, type=Counted))
        if letter in ENDS:
            after = ends[place + 1 : place + 2]
            tenant = after if after.isdigit() else "t"
            said.append(halting.judge(tenant, ENDS[letter]))
    return said


@pytest.mark.parametrize(
    ("rule", "ends", "why"),
    [
        (THIRD, "ff", ""),
        (THIRD, "fff", "3 items failed"),
        (THIRD, "fafnf", "3 items failed"),
        (THIRD, "ffsssaaann", ""),
        (THIRD, "ufu", "3 items failed"),
        (THIRD, "ffg", "3 items failed"),
        (THIRD, "fg", ""),
        (THIRD, "ff|f", "3 items failed"),
        (THIRD, "f|f|a", ""),
        (Rule(of="failures", count=1), "aaa", ""),
        (Rule(of="failures", count=1), "g", "1 item failed"),
        (ROW, "ff", ""),
        (ROW, "fff", "3 items in a row failed"),
        (ROW, "ffaff", ""),
        (ROW, "ffnff", ""),
        (ROW, "ffafff", "3 items in a row failed"),
        (ROW, "ffsf", "3 items in a row failed"),
        (ROW, "f1f2f3", "3 items in a row failed"),
        (ROW, "f1f2a3f1f2", ""),
        (ROW, "fug", "3 items in a row failed"),
        (ROW, "ff|f", "3 items in a row failed"),
        (ROW, "ff|aff", ""),
        (ROW, "ffa|ff", ""),
        (TWO, "f1|f1", ""),
        (TWO, "f1|f2", "items of 2 tenants failed"),
        (Rule(of="in_a_row", count=1), "s", ""),
        (Rule(of="in_a_row", count=1), "f", "1 item failed"),
        (TWO, "f1f1f1g1", ""),
        (TWO, "f1f2", "items of 2 tenants failed"),
        (TWO, "f1s2a2n3", ""),
        (TWO, "f1g2", "items of 2 tenants failed"),
        (Rule(of="tenants", count=1), "u1", "items of 1 tenant failed"),
    ],
)
def test_a_rule_halts_at_its_number_and_not_before(rule: Rule, ends: str, why: str) -> None:
    *before, last = heard([rule], ends)
    assert not any(before)
    assert last == why


@pytest.mark.parametrize(
    ("share", "items", "number"),
    [(0.05, 40, 2), (0.05, 41, 3), (0.05, 20, 1), (0.05, 3, 1), (0.07, 100, 7), (1.0, 5, 5)],
)
def test_a_share_is_of_the_waves_items_and_at_least_one(
    share: float, items: int, number: int
) -> None:
    rule = Rule(of="failures", share=share)
    said = heard([rule], "f" * number, items)
    assert [bool(why) for why in said] == [False] * (number - 1) + [True]
    [told] = sentences([rule], items)
    ending = {1: "1st", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")
    noun = "item" if items == 1 else "items"
    assert told.startswith(
        f"{share:.0%} of the wave's {items} {noun}: stops when the {ending} item fails ("
    )


def test_any_of_several_rules_halts() -> None:
    assert heard([THIRD, TWO], "f1f1f1")[-1] == "3 items failed"
    assert heard([THIRD, TWO], "f1f2")[-1] == "items of 2 tenants failed"
    assert not any(heard([], "fugf"))


NOT = "429s and skipped items do not count"
ONCE = f"a tenant that is given up counts once; {NOT}"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (THIRD, f"stops when the 3rd item fails ({ONCE})"),
        (
            Rule(of="failures", share=0.025),
            f"2.5% of the wave's 40 items: stops when the 1st item fails ({ONCE})",
        ),
        (ROW, f"stops when 3 items in a row fail ({ONCE}, nor do they break the row)"),
        (Rule(of="in_a_row", count=1), f"stops when the 1st item fails ({ONCE})"),
        (
            TWO,
            f"stops when the 2nd tenant has an item that fails, or is given up ({NOT})",
        ),
    ],
)
def test_a_rule_is_told_as_a_sentence(rule: Rule, told: str) -> None:
    assert sentences([rule], 40) == [told]


@pytest.mark.parametrize(
    ("number", "nth"),
    [(1, "1st"), (2, "2nd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st"), (113, "113th")],
)
def test_numbers_of_rules_read_well(number: int, nth: str) -> None:
    [told] = sentences([Rule(of="failures", count=number)], 1)
    assert f"the {nth} item fails" in told
