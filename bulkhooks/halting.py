"""What halts a job: so many failures, told beforehand in sentences and counted as items end.

An item counts that failed or is uncertain; one that was skipped does not, nor does an answer with
status 429, which never ends an item. A tenant that is given up counts once, however many of its
items that leaves untouched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from .items import State
from .schedule import Rule, part

_FAILED: Final = (State.FAILED, State.UNCERTAIN)
_ENDED_WELL: Final = (State.APPLIED, State.UNCHANGED)

_ONCE: Final = "a tenant that is given up counts once"
_NOT: Final = "429s and skipped items do not count"


class Counted(Struct, frozen=True, omit_defaults=True):
    """What was counted so far, by what rules count."""

    failures: int = 0
    in_a_row: int = 0
    tenants: tuple[str, ...] = ()  #: their names, where a rule counts them


class Halting:
    """Counts how items end, of one wave or of a job that has none, from what was `counted` before;
    `items` is how many there are, for rules that say a share of them."""

    def __init__(self, rules: Iterable[Rule], items: int, counted: Counted) -> None:
        self._rules = [(rule, _number(rule, items)) for rule in rules]
        self.counted = counted

    def judge(self, tenant: str, state: State | None) -> str:
        """Hear how an item of a tenant ended, or that the tenant was given up (None); why that is
        to halt it all, or ""."""
        was = self.counted
        if state in _ENDED_WELL and was.in_a_row:
            self.counted = replace(was, in_a_row=0)
        if not (state is None or state in _FAILED):
            return ""
        tenants = was.tenants
        if tenant not in tenants and any(rule.of == "tenants" for rule, _ in self._rules):
            tenants += (tenant,)
        self.counted = Counted(was.failures + 1, was.in_a_row + 1, tenants)
        for rule, number in self._rules:
            if self._count(rule) >= number:
                return _why(rule, number)
        return ""

    def _count(self, rule: Rule) -> int:
        if rule.of == "tenants":
            return len(self.counted.tenants)
        return self.counted.in_a_row if rule.of == "in_a_row" else self.counted.failures


def sentences(rules: Iterable[Rule], items: int) -> list[str]:
    """Each rule as a sentence with its number, for a wave of so many items."""
    return [_sentence(rule, items) for rule in rules]


def _number(rule: Rule, items: int) -> int:
    return part(rule.share, items) if rule.share else rule.count


def _sentence(rule: Rule, items: int) -> str:
    number = _number(rule, items)
    stops, aside = f"the {_nth(number)} item fails", f"{_ONCE}; {_NOT}"
    if rule.of == "tenants":
        stops, aside = f"the {_nth(number)} tenant has an item that fails, or is given up", _NOT
    elif rule.of == "in_a_row" and number > 1:
        stops = f"{number:,} items in a row fail"
        aside += ", nor do they break the row"
    share = ""
    if rule.share:
        noun = "item" if items == 1 else "items"
        share = f"{rule.share * 100:g}% of the wave's {items:,} {noun}: "
    return f"{share}stops when {stops} ({aside})"


def _why(rule: Rule, number: int) -> str:
    end = "" if number == 1 else "s"
    if rule.of == "tenants":
        return f"items of {number:,} tenant{end} failed"
    row = " in a row" if rule.of == "in_a_row" and number > 1 else ""
    return f"{number:,} item{end}{row} failed"


def _nth(number: int) -> str:
    """A number as a place: 1st, 2nd, 3rd, 4th, 11th."""
    teens = number % 100 in (11, 12, 13)
    end = "th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{end}"
