"""What an assessment tells a person: as lines for a screen, and as one page of HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from .assess import Assessment, Script, Standing
from .convert import Blocker
from .guards import listed
from .page import save_page
from .report import clean, many

#: Scripts that a screen shows.
_SHOWN: Final = 50
#: Of these columns the digest and the trigger stand left.
_COLUMNS: Final = "{:<16}  {:<22}  {:>5}  {:>7}  {:<7}  {}"


def as_text(found: Assessment, *, width: int = 80) -> Iterator[str]:
    """Clean lines for a screen of so many columns: each script in a row, then what stands in the
    way of each, the most urgent first, then what is to be told of tenants."""
    shown = found.scripts[:_SHOWN]
    if shown:
        yield _COLUMNS.format("script", "trigger", "hooks", "tenants", "mode", "").rstrip()
    for each in shown:
        mode, tenants = each.conversion.mode or "none", len(each.tenants)
        trigger = clean(each.triggerId)[:22]
        row = _COLUMNS.format(each.digest, trigger, each.hooks, tenants, mode, state(each))
        yield row.rstrip()
    if len(found.scripts) > len(shown):
        more = many(len(found.scripts) - len(shown), "more script")
        yield f"and {more}: --html and --json have all"
    for each in shown:
        if lines := [*_of_script(each), *_clashes(found, each)]:
            names = f"{listed(list(each.names))} on {listed(list(each.tenants))}"
            yield ""
            yield from _wrapped(f"{each.digest}: {names}", "", width)
            for line in lines:
                yield from _wrapped(line, "  ", width)
    if lines := list(_of_tenants(found)):
        yield ""
        for line in lines:
            yield from _wrapped(line, "", width)
    yield ""
    yield from _wrapped(total(found), "", width)


def total(found: Assessment) -> str:
    """All of it in a sentence."""
    hooks = sum(each.hooks for each in found.scripts)
    tenants = sum(each.hooks is not None for each in found.tenants.values())
    ready = sum(each.urgency == 4 for each in found.scripts)
    blocked = sum(each.urgency < 2 for each in found.scripts)
    made = sum(each.made or 0 for each in found.tenants.values())
    less = len(found.scripts) - ready - blocked
    told = f"{many(hooks, 'hook')} of {many(tenants, 'tenant')}: "
    told += f"{many(len(found.scripts), 'script')}, {ready} ready, {blocked} blocked"
    told += f", {less} with something to settle" if less else ""
    return told + (f"; {many(made, 'action')} of them there already" if made else "")


def state(script: Script) -> str:
    """What is the matter with a script, in a word or two."""
    blockers, missing = len(script.conversion.blockers), len({one.name for one in script.missing})
    match script.urgency:
        case 0 | 1:
            return many(blockers, "blocker")
        case 2 if script.limits:
            return many(len(script.limits), "limit")
        case 2:
            return f"{script.clashes} clash" + ("es" if script.clashes > 1 else "")
        case 3:
            return many(missing, "secret")
        case _:
            return "ready"


def _of_script(script: Script) -> Iterator[str]:
    if script.conversion.mode is None:
        yield "cannot be converted"
    for blocker in script.conversion.blockers:
        yield f"line {blocker.line}: {blocker.what}"
    yield from (f"limit: {limit}" for limit in script.limits)
    for missing in script.missing:
        yield f"secret {missing.name}: {missing.why} (on {listed(list(missing.tenants))})"
    if script.unheld:
        yield f"reads secrets that none of the hooks has: {listed(list(script.unheld))}"
    if len(script.packages) > 1:
        for each in script.packages:
            pairs = [f"{name} {version}" for name, version in each.versions.items()]
            on = listed(list(each.tenants))
            yield f"dependencies differ: {', '.join(pairs) or 'none'} (on {on})"


def _clashes(found: Assessment, script: Script) -> Iterator[str]:
    """The clashes of a script's hooks; equal ones together."""
    alike: dict[str, list[str]] = {}
    for name in script.tenants if script.clashes else ():
        for clash in found.tenants[name].clashes:
            if clash.hook in script.names and clash.triggerId == script.triggerId:
                alike.setdefault(f"{clash.hook}: {clash.what}", []).append(name)
    for told, tenants in alike.items():
        yield f"clash, {told} (on {listed(list(dict.fromkeys(tenants)))})"


def _of_tenants(found: Assessment) -> Iterator[str]:
    """What is to be told of tenants; equal things together."""
    alike: dict[str, list[str]] = {}
    for name, each in found.tenants.items():
        for told in _of_tenant(each):
            alike.setdefault(told, []).append(name)
    for told, tenants in alike.items():
        yield f"{listed(tenants)}: {told}"


def _of_tenant(standing: Standing) -> Iterator[str]:
    if standing.trouble:
        yield str(standing.trouble)
    yield from (f"limit: {limit}" for limit in standing.limits)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        clean(text),
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


# ---- the page


def save_verdict(found: Assessment, path: Path) -> None:
    """Write an assessment as one page of HTML that needs nothing else, whole or not at all.

    Raises Refused when it cannot be written.
    """
    save_page(
        path,
        "verdict.html",
        scripted=None,
        found=found,
        total=total(found),
        state=state,
        many=many,
        marked=_marked,
        of_script=lambda script: [*_of_script(script), *_clashes(found, script)],
        of_tenants=list(_of_tenants(found)),
    )


def _marked(script: str, blockers: Iterable[Blocker]) -> Iterator[tuple[int, str, list[str]]]:
    """A script's lines with their numbers and with what is wrong there."""
    lines = script.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    wrong: dict[int, list[str]] = {}
    for blocker in blockers:
        at = min(max(blocker.line, 1), len(lines))
        wrong.setdefault(at, []).append(blocker.what)
    for number, line in enumerate(lines, 1):
        yield number, line, wrong.get(number, [])
