"""A freeze: what a job writes in a window is put back at the window's end.

What is to be done next is decided here, from what the journal says and the time it is. The put-back
is an undo in a journal of its own, beside the first.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum, auto
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import orjson

from . import plan, windows
from .errors import BulkhooksError, JournalError, NotPutBack, Refused
from .items import Fields, Item, State, Step, edit_of
from .journal import Journal
from .schedule import Schedule, Span, Window
from .steps import of_action
from .store import Write
from .tenants import Tenant
from .undo import undone

#: How many times as long as expected a put-back may take, and seconds that it has beside that.
_LONGER: Final = 1.5
_SPARE: Final = 10.0
_LEFT: Final = (State.PENDING, State.FAILED, State.UNCERTAIN, State.SKIPPED)
#: Hooks and actions that are told one by one.
_SHOWN: Final = 20


class Do(Enum):
    """What a freeze is to do next."""

    WAIT = auto()  #: for its window
    APPLY = auto()
    HOLD = auto()  #: wait until it is time to put back
    PUT_BACK = auto()
    NOTHING = auto()


class Stand(msgspec.Struct, frozen=True, kw_only=True):
    """How far a freeze is, as its journals say."""

    span: Span
    takes: float = 0.0  #: seconds that putting back will take, about
    pending: bool = False  #: something is left to be applied
    written: bool = False  #: something of ours is there, or may be
    halted: bool = False
    ended: bool = False  #: the put-back was begun: nothing more is applied
    back: bool = False  #: and all of it has ended


class NotBack(msgspec.Struct, frozen=True, kw_only=True):
    """A hook or an action that could not be put back."""

    tenant: str
    label: str
    state: str
    cause: str


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """How far a freeze is, for whoever looks on."""

    start: float  #: Unix seconds
    end: float
    state: str  #: planned, open, or put back: as far as it can be
    putback: str  #: the journal of the put-back, once that was begun
    not_put_back: tuple[NotBack, ...]
    places: tuple[str, ...]  #: of actions in lists that others have changed meanwhile
    told: str  #: what a person must know first
    next: tuple[str, ...]  #: words of the command that goes on

    @property
    def wholly_back(self) -> bool:
        """Whether nothing that the job wrote is there any more."""
        return self.state != "open" and not self.not_put_back


# ---- when


def next_step(stand: Stand, now: float) -> Do:
    """What is to be done at a time, in Unix seconds."""
    if stand.back:
        return Do.NOTHING
    if stand.ended or stand.halted or now >= back_at(stand):
        return Do.PUT_BACK
    if now < stand.span.start:
        return Do.WAIT
    if stand.pending:
        return Do.APPLY
    return Do.HOLD if stand.written else Do.NOTHING


def back_at(stand: Stand) -> float:
    """When to begin to put back, to have ended by the window's end: never before half of it."""
    start, end = stand.span
    return max((start + end) / 2, end - stand.takes * _LONGER - _SPARE)


def span_of(journal: Journal) -> Span | None:
    """The span of a freeze that a journal is of; None: it is of none."""
    try:
        return Span(*orjson.loads(journal.meta("span"))) if journal.meta("span") else None
    except (ValueError, TypeError) as error:
        raise journal.damaged("its span") from error


def back_by(stand: Stand, took: float) -> float:
    """When what is written from now on is to be back, that there is time for what was before,
    which `took` so many seconds."""
    return stand.span.end - _SPARE - took


def until_back(schedule: Schedule, stand: Stand) -> Schedule:
    """A schedule by which the first half ends when it is time to put back."""
    assert schedule.window is not None
    zone, end = schedule.window.timezone, back_at(stand)
    if any(windows.moment(_local(each, zone), zone) != each for each in (stand.span.start, end)):
        zone = "UTC"  # a local time that comes twice
    start, close = (_local(each, zone).isoformat() for each in (stand.span.start, end))
    window = Window(timezone=zone, start=start, end=close, written=schedule.window.written)
    return msgspec.structs.replace(schedule, window=window)


def _local(moment: float, zone: str) -> datetime:
    return datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


# ---- where


def putback_path(path: Path) -> Path:
    """Where the put-back of the journal at `path` is."""
    return path.with_name(f"{path.stem}.putback{path.suffix}")


def recurrence(
    path: Path, schedule: Schedule, now: float, *, dated: bool
) -> tuple[Path, Span | None]:
    """The journal of a freeze, and its span: of one that recurs, those of the current recurrence,
    or of the next one if its work is done, by its date if it is to be `dated`. What is no freeze
    has no span. Raises Refused when its window does not open any more."""
    window = schedule.window
    if window is None or not schedule.freeze:
        return path, None
    dated = dated and bool(window.cron)
    # One that is over is taken all the same, if no other will come: it may be put back yet.
    for span in windows.spans(window, now if window.cron else -math.inf):
        own = _dated(path, span, window.timezone) if dated else path
        if not (dated and own.exists() and _is_over(own)):
            return own, span
    raise Refused(f"its window {window.written or window.cron} does not open any more")


def open_earlier(path: Path, schedule: Schedule, now: float) -> Iterator[Path]:
    """The journals that a job has at other times, or had by another schedule, whose freeze is over
    and was not put back, the oldest first. Raises NotPutBack where it is not over, Refused or
    JournalError where one cannot be read."""
    own, _ = recurrence(path, schedule, now, dated=True)
    when = "[0-9]" * 4 + "-[0-9][0-9]-[0-9][0-9]T" + "[0-9]" * 4
    for other in (*sorted(path.parent.glob(f"{path.stem}.{when}{path.suffix}")), path):
        if other == own or not other.exists():
            continue
        try:
            with Journal.read(other) as journal:
                found = None if journal.meta("sandbox") else look(journal)
                if found and found.end > now:
                    check_over(journal)
        except (Refused, JournalError) as error:
            raise type(error)(
                f"{error}. It is of an earlier time of this freeze, which may be open still: "
                "where all of that is back, move it elsewhere, and run the job again"
            ) from error
        if found and found.state == "open":
            yield other


def _dated(path: Path, span: Span, timezone: str) -> Path:
    """The journal of one recurrence of a freeze: by its start in local time."""
    return path.with_name(f"{path.stem}.{_local(span.start, timezone):%Y-%m-%dT%H%M}{path.suffix}")


def _is_over(path: Path) -> bool:
    with Journal.read(path) as journal:
        found = look(journal)
    return bool(found and found.state == "put back")


# ---- before it


def check(journal: Journal, tenants: Mapping[str, Tenant]) -> float:
    """About how many seconds the put-back of what is planned takes. Raises Refused when
    its window is too short for there and back."""
    efforts = plan.expected(journal, tenants)
    takes = plan.together(efforts.values()).seconds
    span = span_of(journal)
    if span and 2 * takes > (length := span.end - span.start):
        slowest = max(efforts, key=lambda name: efforts[name].seconds)
        raise Refused(
            f"its window is {windows.length(length)} long; applying and putting back takes about "
            f"{windows.length(2 * takes)} (the slowest tenant is {slowest}): "
            f"{windows.length(2 * takes - length)} are missing"
        )
    return takes


def check_start(journal: Journal, now: float) -> None:
    """Raises Refused when a freeze that has written nothing has no time left for there and
    back."""
    start, end = (how := stand(journal)).span
    until = windows.clock(end, timezone(journal))
    if how.written or how.ended or now < start:
        return
    if now >= end:
        raise Refused(f"its window was over at {until}; nothing was sent. Plan it for another")
    if now + 2 * how.takes <= end:
        return
    raise Refused(
        f"its window is over at {until}, in {windows.length(end - now)}; applying and putting back "
        f"takes about {windows.length(2 * how.takes)}: nothing was sent"
    )


# ---- how far it is


def stand(journal: Journal, *, tried: bool = False) -> Stand:
    """How far the freeze of a journal is; what is pending still after it was `tried` stays so.
    Raises JournalError."""
    span = span_of(journal)
    assert span is not None
    counts = journal.counts().values()
    return Stand(
        span=span,
        takes=float(journal.meta("putback_takes") or 0),
        pending=not tried and any(mine[State.PENDING] or mine[State.UNCERTAIN] for mine in counts),
        written=next(_held(journal), None) is not None,
        halted=bool(journal.meta("halted")),
        ended=bool(journal.meta("putback")),
        back=_is_back(journal),
    )


def measured(journal: Journal) -> float:
    """How many seconds what was carried out has taken, of waves the longest: all are put back at
    once, and what they were left alone for afterwards does not count."""
    took, wave, began = defaultdict[int, float](float), 0, math.inf
    for event in journal.events():
        if event.kind in ("apply", "wave"):
            # A call that was killed has told no end.
            took[wave] += max(0.0, journal.wrote_until(event.at) - began)
            wave, began = event.what.get("n", 0), event.at
        elif event.kind in ("soak", "probe", "wave-done", "end"):
            took[wave] += max(0.0, event.at - began)
            began = math.inf
    took[wave] += max(0.0, journal.wrote_until(math.inf) - began)
    return max(took.values())


def _is_back(journal: Journal) -> bool:
    """Whether nothing is left to be put back that could be."""
    if not journal.meta("putback"):
        return False
    if next(_held(journal), None) is None:
        return True
    path = _put_back_by(journal)
    if not path.exists():
        return False
    with Journal.read(path) as back:
        return is_of(back, journal) and bool(back.meta("planned")) and not unfinished(back)


def _put_back_by(journal: Journal) -> Path:
    """Where the put-back of a journal is: beside it, for both may have been moved, or else where
    it was begun."""
    beside = putback_path(journal.path.absolute())
    return beside if beside.exists() else Path(journal.meta("putback"))


def is_of(back: Journal, done: Journal) -> bool:
    """Whether a put-back is that of a journal, rather than of an earlier one at its path."""
    return back.meta("puts_back") == _mark(done)


def _mark(done: Journal) -> str:
    return f"{done.meta('made')} {done.meta('digest')}"


def unfinished(back: Journal) -> bool:
    """Whether a put-back has anything left that may be tried again."""
    again = (State.PENDING, State.FAILED, State.UNCERTAIN)
    return any(mine[state] for mine in back.books().values() for state in again)


def over(journal: Journal, path: Path, now: float, why: str) -> list[Write]:
    """The writes that end the first half of a freeze, to be put back by a journal at `path`; `why`
    that is before its time, "" if it is not. What was sent and has no answer is left to the
    put-back, which reads it."""
    hint = "what may have been sent before was read, and put back; the rest was not sent"
    cause, state = f"put back early: {why}" if why else "window over", State.SKIPPED
    gone = [journal.give_up(t.id, cause, hint, state=state) for t in journal.tenants()]
    return [
        *(write for writes in gone for write in writes),
        *journal.noted(putback=str(path.absolute())),
        journal.event("putback", now, why=why or "it is time", journal=str(path.absolute())),
    ]


def staged(back: Journal, done: Journal) -> None:
    """Note in a new put-back what it is of."""
    kept = {key: done.meta(key) for key in ("span", "sandbox")}
    back.note(puts_back=_mark(done), zone=timezone(done), **kept)


def note_end(back: Journal, now: float) -> None:
    """Note in a put-back that it has ended, and what was put back elsewhere than it was."""
    events = [back.event("place", now, told=told) for told in places(back)]
    if not any(event.kind == "putback" for event in back.events()) and not unfinished(back):
        left = sum(mine[state] for mine in back.books().values() for state in _LEFT)
        back.write([*events, back.event("putback", now, left=left)])


def timezone(journal: Journal) -> str:
    """The time zone of the window of a freeze, or of its put-back."""
    return plan.timezone(journal) or "UTC"


# ---- told


def look(journal: Journal) -> Freeze | None:
    """How far the freeze is that a journal, or its put-back, is of; None: it is of none. Raises
    JournalError."""
    span = span_of(journal)
    if span is None:
        return None
    if journal.meta("puts_back"):
        return _put_back(journal, span)
    ended = bool(journal.meta("putback"))
    path = str(_put_back_by(journal)) if ended else ""
    if ended and Path(path).exists():
        with Journal.read(Path(path)) as back:
            if is_of(back, journal) and back.meta("planned"):
                return _put_back(back, span)
    held = in_words(journal)
    words, told = tuple[str, ...](), ""
    if held:
        until = windows.clock(span.end, timezone(journal))
        words = _command(journal, "apply", str(journal.path))
        told = (
            f"NOT put back yet: {held}, until {until}; `{plan.typed(words)}` "
            f"{'puts it back' if ended else 'puts it back by then, or at once if that is past'}"
        )
        if not ended:
            undo = _command(journal, "undo", str(journal.path), "--yes")
            told += f", `{plan.typed(undo)}` puts it back now"
    return Freeze(
        start=span.start,
        end=span.end,
        state="open" if held else "put back" if ended else "planned",
        putback=path,
        not_put_back=(),
        places=(),
        told=told,
        next=words,
    )


def _put_back(back: Journal, span: Span) -> Freeze:
    names = {row.id: row.name for row in back.tenants()}
    left = tuple(
        NotBack(
            tenant=names[item.tenant],
            label=item.label or edit_of(back.body(item.edit)).label,
            state=item.outcome.state.value,
            cause=item.outcome.cause,
        )
        for item in _items(back, _LEFT)
    )
    again = unfinished(back)
    told, words = "", tuple[str, ...]()
    if left:
        named = ", ".join(f"{each.tenant} {each.label}".strip() for each in left[:3])
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        are = "is" if len(left) == 1 else "are"
        told = f"{len(left)} of {_called(back)} {are} NOT put back: {named}{more}"
        if not again:
            told += "; what others changed meanwhile is left as it is"
    elif back.meta("planned"):
        told = f"put back on {_ended_at(back)}"
    if again and not back.meta("planned"):
        words = _command(back, "apply", back.meta("undoes"))  # which plans it anew
    elif again:
        failed = not any(
            mine[State.PENDING] or mine[State.UNCERTAIN] for mine in back.books().values()
        )
        words = _command(back, "apply", str(back.path), *(["--failed"] if failed else []))
    return Freeze(
        start=span.start,
        end=span.end,
        state="open" if again else "put back",
        putback=str(back.path),
        not_put_back=left,
        places=tuple(places(back)),
        told=told,
        next=words,
    )


def _command(journal: Journal, *words: str) -> tuple[str, ...]:
    """A command on a journal, with the tenants file that it does not take by itself."""
    tenants = plan.foreign_tenants_file(journal)
    return (*words, *(("--tenants", tenants) if tenants else ()))


def left_in_words(back: Journal) -> str:
    """What a put-back has left, and the cause that most of it has."""
    found = look(back)
    assert found is not None
    causes = Counter(each.cause or "not begun" for each in found.not_put_back)
    ((cause, _),) = causes.most_common(1)
    return f"{found.told}: {cause}"


def _ended_at(back: Journal) -> str:
    at = [event.at for event in back.events() if event.kind == "putback"]
    if not at:  # it was killed when all had been done
        made = datetime.fromisoformat(back.meta("made")).timestamp()
        at = [back.wrote_until(math.inf) or made]
    return windows.clock(at[-1], timezone(back))


def _called(journal: Journal) -> str:
    """How many hooks, actions or both a journal is for, in words."""
    sql = "SELECT count(*), count(target), total(instr(target, 'actions/') > 0) FROM items"
    count, known, of_actions = journal.rows(sql)[0]
    thing = "action" if of_actions == known else "hook" if not of_actions else "hook and action"
    thing = thing if known else "item"
    things = "hooks and actions" if thing == "hook and action" else f"{thing}s"
    return f"{count:,} {thing if count == 1 else things}"


def in_words(journal: Journal) -> str:
    """What is otherwise than it was before a journal wrote, or may be: `2 hooks are off`."""
    counts = Counter(_otherwise(step) for step in _held(journal))
    return ", ".join(
        f"{count:,} {(thing if count == 1 else thing + 's')} {'is' if count == 1 else 'are'} {how}"
        for (thing, how), count in counts.items()
    )


def _held(journal: Journal) -> Iterator[Step]:
    """The steps by which what a journal wrote is put back."""
    for item in journal.written():
        back = undone(item, leave_actions=False)
        yield from (step for step in (back.steps if back else ()) if not step.back)


def _otherwise(step: Step) -> tuple[str, str]:
    thing = "action" if of_action(step.target) else "hook"
    match step.want.get("bound"), step.want.get("enabled"):
        case True, _ if not step.before.get("bound"):
            return thing, "still unbound"
        case False, _:
            return thing, "still bound"
        case _, True:
            return thing, "still off"
        case _, False:
            return thing, "still on"
        case _:
            return thing, "still changed"


def unless_open(frozen: Freeze | None, error: BulkhooksError) -> BulkhooksError:
    """What a call is ended by: an open freeze is told ahead of it."""
    if frozen is None or frozen.state != "open":
        return error
    goes_on = f"; `{plan.typed(frozen.next)}` goes on" if frozen.not_put_back else ""
    told = f"{frozen.told}{goes_on}\n{error}"
    return JournalError(told) if isinstance(error, JournalError) else NotPutBack(told)


def check_over(journal: Journal) -> None:
    """Raises NotPutBack when a journal is of a freeze that is open."""
    frozen = look(journal)
    if frozen and frozen.state == "open":
        raise NotPutBack(f"{journal.path} is of a freeze that is not over: {frozen.told}")


def details(freeze: Freeze) -> Iterator[str]:
    """What could not be put back, one by one, and what was put back elsewhere than it was."""
    for each in freeze.not_put_back[:_SHOWN]:
        yield f"{each.tenant}: {each.label}: {each.state}: {each.cause or 'not begun'}"
    if len(freeze.not_put_back) > _SHOWN:
        yield f"and {len(freeze.not_put_back) - _SHOWN} more"
    yield from freeze.places


def places(back: Journal) -> Iterator[str]:
    """Of each action that was put back into a list which others had changed meanwhile, where it is
    now."""
    names = {row.id: row.name for row in back.tenants()}
    for item in _items(back, (State.APPLIED,)):
        for step in item.steps:
            if step.kind == "bind" and step.want["bound"] and (where := _moved(step)):
                yield f"{names[item.tenant]}: {item.label}: {where}"


def _moved(step: Step) -> str:
    """Where an action is in a list that is not as it was; "" if it is, or nothing is known."""
    seen: Fields = step.after or {}
    if "was" not in seen or "among" not in step.want:
        return ""
    own = step.target
    there = [tuple(each) for each in seen["was"] if each[0] != own]
    before = [tuple(each) for each in step.want["among"] if each[0]]
    if [id for id, _ in there] == [id for id, _ in before]:
        return ""
    trigger = step.before["triggerId"]
    return f"others changed the list of {trigger}; it is back beside its old neighbours"


def _items(journal: Journal, states: tuple[State, ...]) -> Iterator[Item]:
    for page in journal.pages(states):
        yield from page
