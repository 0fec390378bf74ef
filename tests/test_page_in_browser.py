"""The page of `bulkhooks report` in a browser: it works by keyboard, in the dark and on a phone,
asks for nothing, and complains of nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from browser import CHROMIUM, Tab, browser
from bulkhooks import account
from bulkhooks.items import Outcome, State
from nights import BEGAN, night
from test_report import EVIL

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not there"),
]
#: How many of the rows that are shown say something.
ROWS = "[...document.querySelectorAll('#rows tr')].length"
#: What has the focus.
FOCUS = "document.activeElement.id || document.activeElement.textContent.trim().slice(0, 40)"
TAB, ENTER = ("Tab", 9), ("Enter", 13, "\r")


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    async with browser() as found:
        yield found


def written(folder: Path, *, evil: bool = False, tenants: int = 40, each: int = 10) -> str:
    """The address of a night's page."""
    label = EVIL if evil else ""
    meta = {"note": EVIL, "halted": EVIL} if evil else {}
    with night(folder / "j", tenants=tenants, each=each, label=label, meta=meta) as journal:
        if evil:
            (item,) = journal.items([State.PENDING], 1)
            failed = Outcome(state=State.FAILED, cause=EVIL, hint=EVIL)
            journal.write(
                [journal.ended(item, failed), journal.event(EVIL, BEGAN + 301, told=EVIL)]
            )
        account.save_account(journal, folder / "night.html")
    if kept := os.environ.get("BULKHOOKS_PICTURES"):
        (Path(kept) / "night.html").write_bytes((folder / "night.html").read_bytes())
    return (folder / "night.html").as_uri()


@pytest.mark.parametrize("evil", [False, True], ids=["plain", "hostile"])
async def test_it_opens_without_a_complaint_and_asks_for_nothing(
    tab: Tab, tmp_path: Path, evil: bool
) -> None:
    url = written(tmp_path, evil=evil)
    await tab.open(url)
    assert await tab.value(ROWS) == 50
    assert tab.requests == [url]
    assert tab.complaints == []
    assert await tab.value("document.scripts.length") == 2
    assert await tab.value("document.images.length") == 0
    if evil:
        assert await tab.value(
            "document.querySelector('#rows tr').textContent.includes('alert(1)')"
        )
    # What is not the page's own is refused, and the browser says so.
    await tab.value("document.body.append(Object.assign(new Image(), {src: 'https://x.invalid'}))")
    await tab.value(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'document.title = 1'}))"
    )
    assert await tab.value("document.title") != "1"
    refused = [each for each in tab.complaints if "Content Security Policy" in each]
    assert any("image" in each for each in refused)
    assert any("inline script" in each for each in refused)


async def test_items_are_filtered_and_paged(tab: Tab, tmp_path: Path) -> None:
    await tab.open(written(tmp_path))
    at = "document.querySelector('#page').textContent"
    said = "document.querySelector('#shown').textContent"
    assert (await tab.value(at), await tab.value(said)) == ("page 1 of 8", "400 items")
    assert await tab.value("document.querySelector('#back').disabled")
    for _ in range(9):  # the button is off at the last page
        await tab.value("document.querySelector('#on').click()")
    assert await tab.value(at) == "page 8 of 8"
    assert await tab.value("document.querySelector('#on').disabled")
    await tab.value("document.querySelector('#back').click()")
    assert await tab.value(at) == "page 7 of 8"
    await _choose(tab, "#filter", "PROD-003 enrich", "input")
    shown = "[...document.querySelectorAll('#rows tr')].map(row => row.children[1].textContent)"
    assert set(await tab.value(shown)) == {"prod-003"}
    assert (await tab.value(at), await tab.value(said)) == ("page 1 of 1", "4 items of 400")
    await _choose(tab, "#filter", "", "input")
    await _choose(tab, "#state", "failed", "change")
    assert await tab.value(said) == "1 item of 400"
    await _choose(tab, "#filter", "no such thing", "input")
    assert (await tab.value(ROWS), await tab.value(said)) == (0, "0 items of 400")


async def _choose(tab: Tab, where: str, value: str, event: str) -> None:
    await tab.value(
        f"(it => {{ it.value = {value!r}; it.dispatchEvent(new Event({event!r})); }})"
        f"(document.querySelector({where!r}))"
    )


async def test_all_of_it_can_be_reached_by_keyboard(tab: Tab, tmp_path: Path) -> None:
    await tab.open(written(tmp_path))
    await tab.press(*TAB)
    assert await tab.value(FOCUS) == "Skip to the content"
    assert await tab.value("document.activeElement.getBoundingClientRect().left >= 0")
    await tab.press(*ENTER)
    assert await tab.value(FOCUS) == "main"
    wanted = await tab.value(
        "[...document.querySelectorAll('main a, main button, main input, main select,"
        ' main summary, main [tabindex="0"]\')]'
        ".filter(it => it.checkVisibility() && !it.disabled).length"
    )
    reached = set()
    for _ in range(wanted):
        await tab.press(*TAB)
        reached.add(
            await tab.value("[...document.querySelectorAll('*')].indexOf(document.activeElement)")
        )
        outlined = "getComputedStyle(document.activeElement).outlineStyle"
        assert await tab.value(outlined) != "none", await tab.value(FOCUS)
    assert len(reached) == wanted > 60
    await tab.value("document.querySelector('.multiples > summary').focus()")
    await tab.press(*ENTER)
    assert await tab.value("document.querySelector('.multiples').open")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("evil", [False, True], ids=["plain", "hostile"])
async def test_it_fits_into_the_window(
    tab: Tab, tmp_path: Path, width: int, dark: bool, evil: bool
) -> None:
    url = written(tmp_path, evil=evil)
    await tab.look(width, dark=dark)
    await tab.open(url)
    paper = await tab.value("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)")
    await tab.value("document.querySelectorAll('details').forEach(it => { it.open = true; })")
    assert await tab.value("document.scrollingElement.scrollWidth") == width
    picture = await tab.picture()
    assert picture[:4] == b"\x89PNG"
    if kept := os.environ.get("BULKHOOKS_PICTURES"):
        name = f"{width}-{'dark' if dark else 'light'}-{'evil' if evil else 'plain'}.png"
        (Path(kept) / name).write_bytes(picture)


async def test_without_its_script_the_page_tells_what_is_important(
    tab: Tab, tmp_path: Path
) -> None:
    url = written(tmp_path)
    await tab.ask("Emulation.setScriptExecutionDisabled", value=True)
    await tab.open(url)
    text = str(await tab.value("document.body.innerText"))
    for words in ("1 failed", "its token lacks update:hooks", "prod-000", "bulkhooks undo"):
        assert words in text
    assert "This list needs the page's script. --csv has all items" in text


async def test_ten_thousand_items_are_shown_a_page_at_a_time(tab: Tab, tmp_path: Path) -> None:
    await tab.open(written(tmp_path, tenants=100, each=100))
    assert await tab.value("document.querySelector('#shown').textContent") == "10,000 items"
    assert await tab.value(ROWS) == 50
    assert await tab.value("document.querySelectorAll('*').length") < 20_000
    spent = await tab.value("performance.getEntriesByType('navigation')[0].loadEventEnd")
    print(f"10,000 items: {spent:.0f} ms until all is there")  # noqa: T201
