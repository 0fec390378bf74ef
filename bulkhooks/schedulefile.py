"""When a job is carried out, in what waves, and what ends it early, as people write it: in the
header of a job, or in a file of its own for what has no header.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from . import kinds, schema, windows
from .kinds import matcher, rule, within
from .schedule import Rule, Schedule, Wave, Window
from .schema import NOT_FROZEN
from .shape import Shape
from .source import Findings, Plain, number, read_document, shown
from .tenants import Tenant

#: Bytes in a schedule, at most.
_MAX_FILE: Final = 100_000
_BACK: Final = "cannot be put back at the window's end (`during: window`)"
#: Why an edit is none for a freeze.
_NOT_BACK: Final = dict(
    zip(
        NOT_FROZEN,
        (
            "for it would have to be deleted",
            "for it would have another id then",
            "for a first deployment stays",
            "for the value that a secret has now is not shown",
            "for the value that a secret has now is not shown",
        ),
        strict=True,
    )
)
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SECONDS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}

_FILE: Final = Shape(schema.ScheduleFile)
_WINDOW: Final = Shape(schema.WindowEntry)
_WAVE: Final = Shape(schema.WaveEntry)
_HALT: Final = Shape(schema.HaltEntry)
_duration = matcher(kinds.Duration)
_local_time = matcher(kinds.LocalTime)
_every = matcher(kinds.Every)
_cron = matcher(kinds.Cron)
_wave_share = matcher(kinds.WaveShare)
_failure_share = matcher(kinds.FailureShare)
_tag = matcher(kinds.Tag)
_Match = Callable[[str], re.Match[str] | None]


def load_schedule(
    path: Path, tenants: Mapping[str, Tenant] | None = None, folder: Path | None = None
) -> Schedule:
    """Read a file of just the keys `window`, `during`, `waves` and `halt`, YAML or JSON. Commands
    of probes are seen from `folder`, the job's, or the file's own unless given. Raises BadInput
    with all that is wrong; where `tenants` are given, tags that none of them has too."""
    document = read_document(path, limit=_MAX_FILE)
    found = Findings(document.file, document.lines)
    found.take(*document.complaints)
    schedule = schedule_in(found, _FILE.of(found, "", document.value), folder or path.parent)
    if tenants is not None:
        check_tags(found, schedule, tenants)
    found.close()
    return schedule


def schedule_in(found: Findings, raw: Mapping[str, object], folder: Path) -> Schedule:
    """What `raw` gives as its schedule; what is wrong with it is added to `found`. Commands of
    probes are seen from `folder`."""
    if "during" in raw and raw["during"] != "window":
        found.add("during", f"must be {rule(kinds.During)}, not {shown(raw['during'])}")
    return Schedule(
        window=_window(found, raw["window"]) if "window" in raw else None,
        freeze="during" in raw,
        waves=tuple(_waves(found, raw["waves"], folder)) if "waves" in raw else (),
        halt=tuple(_rules(found, raw["halt"])) if "halt" in raw else (),
    )


def check_tags(found: Findings, schedule: Schedule, tenants: Mapping[str, Tenant]) -> None:
    """Complain of tags of waves that no tenant has."""
    known = {tag for tenant in tenants.values() for tag in tenant.tags} if schedule.waves else ()
    for index, wave in enumerate(schedule.waves):
        for tag in wave.tags:
            if tag not in known:
                found.unknown(f"waves[{index}]", "tag", tag, sorted(known))


def check_window(found: Findings, key: str, window: Window) -> None:
    """Complain of what is wrong with a window, under `key`."""
    wrong = windows.flaw(window)
    if wrong is None:
        return
    name, what = wrong
    if name == "timezone":
        near = get_close_matches(window.timezone, windows.zones(), 1)
        what = f"{shown(window.timezone)} {what}"
        what += f"; did you mean {shown(near[0])}?" if near else ""
    found.add(f"{key}.{'every' if name == 'cron' and not window.cron else name}", what)


def check_put_back(found: Findings, edit: object) -> None:
    """Complain of an edit that is none for a freeze."""
    if isinstance(edit, dict):
        for name in [name for name in NOT_FROZEN if name in edit]:
            found.add(name, f"{_BACK}, {_NOT_BACK[name]}")


# ---- the window


def _window(found: Findings, value: object) -> Window | None:
    before = found.count
    raw = _WINDOW.of(found, "window", value)
    texts = {key: _text(found, key, raw[key]) for key in raw}
    if found.count != before or not raw:
        return None
    window = Window(
        timezone=texts["timezone"],
        start=texts.get("start", "").replace(" ", "T").replace("t", "T"),
        end=texts.get("end", "").replace(" ", "T").replace("t", "T"),
        cron=texts.get("cron", "") or _cron_of(texts.get("every", "")),
        seconds=_seconds(texts.get("for", "")),
        written=_written(texts),
    )
    check_window(found, "window", window)
    return window


#: What the text of each key of a window must be.
_TEXTS: Final[Mapping[str, tuple[Any, _Match]]] = {
    "start": (kinds.LocalTime, _local_time),
    "end": (kinds.LocalTime, _local_time),
    "every": (kinds.Every, _every),
    "cron": (kinds.Cron, _cron),
    "for": (kinds.Duration, _duration),
}


def _text(found: Findings, key: str, value: object) -> str:
    """The text that a key of a window has; "", with a complaint, where it is none."""
    kind, match = _TEXTS.get(key, (None, None))
    # YAML takes a time with seconds for one in UTC; here it is what is written.
    if isinstance(value, Plain) and match:
        value = value.text
    text = found.text(f"window.{key}", value) or ""
    if text and match and not match(text):
        found.add(f"window.{key}", f"must be {rule(kind)}, not {shown(text)}")
    return text


def _cron_of(every: str) -> str:
    """The line of cron that some days and a time are."""
    if not every:
        return ""
    days, time = every.split(" ")
    hour, minute = time.split(":")
    numbers = dict.fromkeys(number for part in days.split(",") for number in _days(part))
    which = "*" if days == "day" else ",".join(map(str, sorted(numbers)))
    return f"{int(minute)} {int(hour)} * * {which}"


def _days(part: str) -> Iterator[int]:
    """The days of a day or of a range, as cron counts them, from Sunday on."""
    if part == "day":
        return
    first, _, last = part.partition("-")
    start = _DAYS.index(first)
    for day in range(start, start + (_DAYS.index(last or first) - start) % 7 + 1):
        yield (day + 1) % 7


def _seconds(duration: str) -> float:
    parts = re.findall("([0-9]+)([dhms])", duration)
    return float(sum(int(count) * _SECONDS[unit] for count, unit in parts))


def _written(texts: Mapping[str, str]) -> str:
    if "start" in texts:
        return f"{texts['start']} to {texts['end']}"
    when = f"every {texts['every']}" if "every" in texts else f"cron {texts['cron']}"
    return f"{when} for {texts['for']}"


# ---- waves


def _waves(found: Findings, value: object, folder: Path) -> Iterator[Wave]:
    if not isinstance(value, list) or not value:
        found.add("waves", "must be a list like [1, 5%, 100%]")
        return
    largest = Wave()
    for index, each in enumerate(value):
        key = f"waves[{index}]"
        wave = _wave(found, key, each, folder)
        if largest.share == 1.0:
            found.add(key, "comes after 100%: no tenant is left for it")
            return
        for ahead, size in ((largest.count, wave.count), (largest.share, wave.share)):
            if ahead is not None and size is not None and size <= ahead:
                found.add(key, "must be more than what is ahead of it: the waves ahead count too")
        largest = Wave(
            count=largest.count if wave.count is None else wave.count,
            share=largest.share if wave.share is None else wave.share,
        )
        yield wave


def _wave(found: Findings, key: str, value: object, folder: Path) -> Wave:
    if isinstance(value, list):
        return Wave(tags=_tags(found, key, value))
    if not isinstance(value, dict):
        count, share = _size(found, key, value)
        return Wave(count=count, share=share)
    raw = _WAVE.of(found, key, value)
    count = share = None
    if "tenants" in raw:
        count, share = _size(found, f"{key}.tenants", raw["tenants"])
    return Wave(
        count=count,
        share=share,
        tags=_tags(found, f"{key}.tags", raw["tags"]) if "tags" in raw else (),
        soak=_soak(found, f"{key}.soak", raw["soak"]) if "soak" in raw else 0.0,
        probe=_probe(found, f"{key}.probe", raw["probe"], folder) if "probe" in raw else "",
    )


def _size(found: Findings, key: str, value: object) -> tuple[int | None, float | None]:
    """A number of tenants, or a share of them."""
    count = number(value)
    if isinstance(count, int) and within(kinds.WaveCount, count):
        return count, None
    if isinstance(value, str) and (share := _wave_share(value)):
        return None, float(share[1]) / 100
    found.add(key, f"must be {rule(kinds.WaveSize)}, not {shown(value)}")
    return None, None


def _tags(found: Findings, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        found.add(key, "must be a list of tags like [canary]")
        return ()
    texts = [found.text(f"{key}[{index}]", each) for index, each in enumerate(value)]
    for index, text in enumerate(texts):
        if text is not None and not _tag(text):
            found.add(f"{key}[{index}]", f"{shown(text)} is no tag: {rule(kinds.Tag)}")
    return tuple(text for text in texts if text)


def _soak(found: Findings, key: str, value: object) -> float:
    text = found.text(key, value.text if isinstance(value, Plain) else value)
    if text is not None and not _duration(text):
        found.add(key, f"must be {rule(kinds.Duration)}, not {shown(text)}")
    return _seconds(text or "")


def _probe(found: Findings, key: str, value: object, folder: Path) -> str:
    """A probe's command, as it is written; a relative path is one from `folder`."""
    text = found.text(key, value)
    if text is None:
        return ""
    try:
        words = shlex.split(text)
    except ValueError as error:
        found.add(key, f"is no command: {error}".lower())
        return ""
    if not words:
        found.add(key, "is no command")
    elif "/" in words[0]:
        program = folder / words[0]
        if not program.is_file():
            found.add(key, f"{shown(words[0])} is not there")
        elif not os.access(program, os.X_OK):
            found.add(key, f"{shown(words[0])} cannot be run; chmod +x makes it so")
    return text


# ---- what ends it early


def _rules(found: Findings, value: object) -> Iterator[Rule]:
    raw = _HALT.of(found, "halt", value)
    if "failures" in raw:
        count, written = number(raw["failures"]), raw["failures"]
        if isinstance(count, int) and within(kinds.FailureCount, count):
            yield Rule(of="failures", count=count)
        elif isinstance(written, str) and (share := _failure_share(written)):
            yield Rule(of="failures", share=float(share[1]) / 100)
        else:
            found.add("halt.failures", f"must be {rule(kinds.Failures)}, not {shown(written)}")
    if "in_a_row" in raw:
        yield Rule(of="in_a_row", count=_whole(found, "halt.in_a_row", raw["in_a_row"]))
    if "tenants" in raw:
        yield Rule(of="tenants", count=_whole(found, "halt.tenants", raw["tenants"]))


def _whole(found: Findings, key: str, value: object) -> int:
    count = number(value)
    if isinstance(count, int) and within(kinds.InARow, count):
        return count
    found.add(key, f"must be {rule(kinds.InARow)}, not {shown(value)}")
    return 0
