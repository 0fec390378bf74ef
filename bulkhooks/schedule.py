"""When a job is carried out, in what waves, and what ends it early: as plain values.

What a person writes is read in `jobfile`; the journal keeps it as JSON.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import msgspec


class Span(NamedTuple):
    """One stretch of time in which writes may be sent, in Unix seconds."""

    start: float
    end: float


class Window(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Spans of time in which writes may be sent: one from `start` to `end`, or one from each time
    that `cron` names, `seconds` long. Times are local ones of `timezone`."""

    timezone: str  #: a name of the IANA database
    start: str = ""  #: ISO 8601, without an offset
    end: str = ""
    cron: str = ""  #: minute, hour, day of the month, month, day of the week
    seconds: float = 0.0  #: how long each lasts: elapsed time
    written: str = ""  #: as a person wrote it, to be told


class Wave(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tenants that must go well before others start: so many of all, or those with a tag."""

    count: int | None = None  #: of tenants, with those of the waves ahead of it
    share: float | None = None  #: the same as a share in (0, 1]
    tags: tuple[str, ...] = ()  #: tenants that have one of these, and are in no wave ahead of it
    soak: float = 0.0  #: seconds to wait when it is done
    probe: str = ""  #: `read-back`, or a command; run after the soak


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many failures end a job. One that says a share is of the items of the wave."""

    of: Literal["failures", "in_a_row", "tenants"]
    count: int = 0
    share: float = 0.0  #: in (0, 1]; 0: `count` counts


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a job is carried out, in what waves, and what ends it early."""

    window: Window | None = None
    freeze: bool = False  #: it is put back at the window's end (`during: window`)
    waves: tuple[Wave, ...] = ()
    halt: tuple[Rule, ...] = ()


#: At once, on all tenants, to the end.
AT_ONCE = Schedule()


def part(share: float, whole: int) -> int:
    """How many a share in (0, 1] of so many is: rounded up, and at least 1."""
    return max(1, math.ceil(round(share * whole, 9)))  # 7% of 100 is no more than 7
