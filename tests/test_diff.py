"""What a plan tells a person: equal changes once, nothing left out, nothing steers a screen."""

from __future__ import annotations

import json
import os
import re
import termios
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from bulkhooks import tally
from bulkhooks.console import show_changes
from bulkhooks.diff import Tint, as_json, as_markdown, as_text
from bulkhooks.errors import JournalError
from bulkhooks.items import Fields, Item, Outcome, State, Step
from bulkhooks.journal import Journal, StagedEdit, Unresolved
from bulkhooks.pacing import Limits
from bulkhooks.report import summary
from bulkhooks.tenants import Given, StaticToken, Tenant

Make: TypeAlias = Callable[[Mapping[str, Sequence[Item]]], Journal]

SCRIPT = "module.exports = (user, context, cb) => {\n\tcb(null);\n};\n"
AUDIT = {
    "name": "audit",
    "triggerId": "post-user-registration",
    "script": "module.exports = 1;\n" * 30,
    "dependencies": {},
}


def update(before: Fields, want: Fields, target: str = "h", *, back: bool = False) -> Step:
    return Step(kind="update", target=target, before=before, want=want, back=back)


def secrets(kind: str, before: Fields, want: Fields) -> Step:
    before, want = ({f"secrets.{k}": v for k, v in some.items()} for some in (before, want))
    return Step(kind=kind, target="h", before=before, want=want)


def item(label: str, *steps: Step, keys: tuple[str, ...] = (), **more: Any) -> Item:
    target = next(step.target for step in reversed(steps) if not step.back)
    return Item(edit=1, target=target, label=label, keys=keys, steps=steps, **more)


OFF = update({"enabled": True}, {"enabled": False})
DELETE = Step(
    kind="delete",
    target="h",
    before=AUDIT | {"enabled": True, "secrets.KEY": True},
    want={"id": None},
)
SWAP = item(
    "new-check",
    update({"enabled": True, "name": "old-check"}, {"enabled": False}, "a"),
    update({"enabled": False}, {"enabled": True}),
    update({"enabled": False}, {"enabled": True}, "a", back=True),
    keys=("h", "enabled:pre-user-registration", "a"),
)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:

        def journal(plan: Mapping[str, Sequence[Item]]) -> Journal:
            """A journal with these items of each tenant."""
            made = stack.enter_context(
                Journal.create(tmp_path / f"j{len(list(tmp_path.iterdir()))}")
            )
            edit = StagedEdit(
                name="e", given=True, line=1, must_match=False, body={"note": "n"}, tenants=(*plan,)
            )
            made.stage([edit], dict.fromkeys(plan, "https://x"))
            made.note(job="freeze", note="CHG-1", limits="{}", made="2026-01-02T03:04:05+00:00")
            which = Unresolved(made.last_item)
            for row in made.tenants():
                (((place, _),),) = made.placeholders(row.id, which, 2)
                made.write(made.resolve(row.id, place, plan[row.name]))
            return made

        yield journal


def tenants(journal: Journal, **more: Any) -> dict[str, Tenant]:
    token = StaticToken(token=Given("x"))
    return {
        row.name: Tenant(name=row.name, base_url="https://x", credential=token, **more)
        for row in journal.tenants()
    }


def text(journal: Journal, width: int | None = None) -> list[str]:
    return [line.text for line in as_text(journal, summary(journal), tenants(journal), width)]


def markdown(journal: Journal) -> str:
    return "".join(as_markdown(journal, summary(journal), tenants(journal)))


def document(journal: Journal) -> Any:
    return json.loads("".join(as_json(journal, summary(journal), tenants(journal))))


@pytest.mark.parametrize(
    ("one", "many"),
    [
        pytest.param(
            (item("check", OFF), "disable check on t0, enabled: true → false"),
            "disable on 2 tenants: check (t0, t1)\n    enabled: true → false",
            id="disable",
        ),
        pytest.param(
            (
                item("check", update({"enabled": False}, {"enabled": True})),
                "enable check on t0, enabled: false → true",
            ),
            "enable on 2 tenants: check (t0, t1)\n    enabled: false → true",
            id="enable",
        ),
        pytest.param(
            (SWAP, "switch pre-user-registration from old-check to new-check on t0"),
            "switch pre-user-registration from old-check to new-check on 2 tenants (t0, t1)",
            id="switch",
        ),
        pytest.param(
            (item("a", update({"name": "a"}, {"name": "b"})), "rename a to b on t0"),
            "rename on 2 tenants: a to b (t0, t1)",
            id="rename",
        ),
        pytest.param(
            (
                item("s", update({"script": SCRIPT}, {"script": SCRIPT.replace("null", "1")})),
                """change script of s on t0
    script: 1 line added, 1 removed
      @@ -1,3 +1,3 @@
       module.exports = (user, context, cb) => {
      -    cb(null);
      +    cb(1);
       };""",
            ),
            """change script on 2 tenants: s (t0, t1)
    script: 1 line added, 1 removed
      @@ -1,3 +1,3 @@
       module.exports = (user, context, cb) => {
      -    cb(null);
      +    cb(1);
       };""",
            id="script",
        ),
        pytest.param(
            (
                item(
                    "d",
                    update({"dependencies": {"a": "1", "b": "2"}}, {"dependencies": {"a": "3"}}),
                ),
                (
                    "change dependencies of d on t0, "
                    "dependencies (the whole map): {a 1, b 2} → {a 3}, removes b"
                ),
            ),
            "change dependencies on 2 tenants: d (t0, t1)\n"
            "    dependencies (the whole map): {a 1, b 2} → {a 3}, removes b",
            id="dependencies",
        ),
        pytest.param(
            (
                item(
                    "d",
                    update(
                        {"dependencies": {f"package-{n}": "1.0.0" for n in range(30)}},
                        {"dependencies": {f"package-{n}": "1.0.0" for n in range(1, 31)}},
                    ),
                ),
                """change dependencies of d on t0
    dependencies (the whole map): 1 new, 1 removed, 29 kept as they are
      -package-0 1.0.0
      +package-30 1.0.0""",
            ),
            """change dependencies on 2 tenants: d (t0, t1)
    dependencies (the whole map): 1 new, 1 removed, 29 kept as they are
      -package-0 1.0.0
      +package-30 1.0.0""",
            id="many dependencies",
        ),
        pytest.param(
            (
                item("m", update({"name": "m", "enabled": False}, {"name": "n", "enabled": True})),
                "change name, enabled of m on t0\n    name: m → n\n    enabled: false → true",
            ),
            "change name, enabled on 2 tenants: m (t0, t1)\n"
            "    name: m → n\n    enabled: false → true",
            id="a mix",
        ),
        pytest.param(
            (
                item(
                    "audit",
                    Step(
                        kind="create",
                        target="new:audit",
                        before={"id": None},
                        want=AUDIT | {"script": "1"},
                    ),
                    update({"enabled": False}, {"enabled": True}, "new:audit"),
                ),
                """create audit on t0
    triggerId: post-user-registration
    enabled: true
    script: 1 line
      +1""",
            ),
            """create on 2 tenants: audit (t0, t1)
    triggerId: post-user-registration
    enabled: true
    script: 1 line
      +1""",
            id="create",
        ),
        pytest.param(
            (
                item("audit", DELETE),
                """delete audit on t0
    triggerId: post-user-registration
    enabled: true
    secrets: KEY
    script: 30 lines""",
            ),
            """delete on 2 tenants: audit (t0, t1)
    triggerId: post-user-registration
    enabled: true
    secrets: KEY
    script: 30 lines""",
            id="delete",
        ),
        pytest.param(
            (
                item(
                    "x",
                    secrets("create_secrets", {"NEW": False}, {"NEW": "env:AUDIT_KEY"}),
                    secrets("update_secrets", {"KEY": True}, {"KEY": "file:/run/key"}),
                ),
                (
                    "set secrets of x on t0\n    secret NEW: new, from env:AUDIT_KEY\n"
                    "    secret KEY: new value from file:/run/key"
                ),
            ),
            "set secrets on 2 tenants: x (t0, t1)\n    secret NEW: new, from env:AUDIT_KEY\n"
            "    secret KEY: new value from file:/run/key",
            id="set secrets",
        ),
        pytest.param(
            (
                item("x", secrets("remove_secrets", {"OLD": True}, {"OLD": False})),
                "remove secrets of x on t0, secret OLD: removed",
            ),
            "remove secrets on 2 tenants: x (t0, t1)\n    secret OLD: removed",
            id="remove secrets",
        ),
    ],
)
def test_a_change_reads_as(make: Make, one: tuple[Item, str], many: str) -> None:
    edit, alone = one
    for names, told in ((("t0",), alone), (("t0", "t1"), many)):
        shown = text(make({name: [edit] for name in names}))
        ended = next(n for n, line in enumerate(shown) if not line.startswith("  ") and n > 1)
        assert [line[2:] for line in shown[2:ended]] == told.splitlines()


@pytest.mark.parametrize("show", [text, markdown, document])
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE items SET label = 'x' WHERE id = (SELECT max(id) FROM items)",
        "UPDATE steps SET want = '{}' WHERE item = (SELECT max(id) FROM items)",
    ],
)
def test_a_plan_of_which_a_row_is_not_whole_is_not_shown(make: Make, sql: str, show: Any) -> None:
    journal = make({"t0": [item("old-check", OFF), item("new-check", OFF)]})
    show(journal)
    journal.write([(sql, ())])
    with pytest.raises(JournalError, match="damaged: item "):
        show(journal)


def test_three_hundred_tenants_with_seven_changes_read_as_seven(make: Make) -> None:
    def edits(number: int) -> list[Item]:
        script = SCRIPT + "\n" * (number % 4)
        return [
            item("fraud-check", OFF, keys=(f"h{number}", "enabled:pre-user-registration")),
            item("deny", update({"script": SCRIPT * 9}, {"script": script + "// v2"})),
            [SWAP, item("audit", DELETE)][number % 2],
        ]

    journal = make({f"prod-{number}": edits(number) for number in range(300)})
    shown = text(journal, 100)
    heads = [line for line in shown if re.match("  [a-z]", line)]
    assert shown[0] == "freeze: 900 items to write on 300 tenants, 7 different changes"
    assert (
        "disable on 300 tenants: fraud-check (prod-0, prod-1, prod-2, ... and 297 more)" in heads[0]
    )
    assert (
        sum(re.match("  (disable|change|switch|delete) ", line) is not None for line in heads) == 7
    )
    assert len(document(journal)["groups"]) == 7
    assert len(shown) < 120
    assert max(map(len, shown)) <= 100


def test_a_guard_is_no_part_of_a_change_and_all_of_a_deleted_hook_is(make: Make) -> None:
    guarded = update({"enabled": True, "name": "b", "dependencies": {"x": "1"}}, {"enabled": False})
    other = Step(
        kind="delete", target="h", before=DELETE.before | {"script": "1"}, want=DELETE.want
    )
    plan = {"t0": [item("a", OFF), item("x", DELETE)], "t1": [item("b", guarded), item("x", other)]}
    assert [group.items for group in tally.groups(make(plan))] == [2, 1, 1]


def test_what_a_title_does_not_say_stands_below_it(make: Make) -> None:
    off, on, back = SWAP.steps
    renamed = update(on.before | {"name": "new-check"}, on.want | {"name": "check"})
    journal = make({"t0": [item("new-check", off, renamed, back, keys=SWAP.keys)]})
    title = "switch pre-user-registration from old-check to new-check and change its name on t0"
    assert text(journal)[2] == f"  {title}, name of new-check: new-check → check"


def test_tenants_have_a_line_of_their_own_where_one_is_too_short(make: Make) -> None:
    journal = make({f"prod-{n}": [item("fraud-check", OFF)] for n in range(9)})
    assert text(journal, 60)[2:5] == [
        "  disable on 9 tenants: fraud-check",
        "      (prod-0, prod-1, prod-2, ... and 6 more)",
        "      enabled: true → false",
    ]


def test_several_hooks_of_several_tenants_are_counted_both(make: Make) -> None:
    four = [item(f"check-{n}", OFF) for n in range(5)]
    journal = make({"t0": four, "t1": four[:1]})
    assert text(journal)[2] == (
        "  disable 6 hooks on 2 tenants: check-0, check-1, check-2, ... and 2 more (t0, t1)"
    )


def test_changes_beyond_the_first_are_counted_and_the_ticket_has_them(make: Make) -> None:
    edits = [item(f"a{n}", update({"name": f"a{n}"}, {"name": f"b{n}"})) for n in range(25)]
    journal = make({"t0": edits})
    shown = text(journal)
    assert sum("rename" in line for line in shown) == 20
    assert "  and 5 more different changes of 5 items; plan --markdown lists all" in shown
    assert markdown(journal).count("### ") == 25


def test_a_long_diff_is_cut_on_a_screen_and_whole_elsewhere(make: Make) -> None:
    want = "".join(f"line {n} {'x' * 200}\n" for n in range(50))
    journal = make({"t0": [item("s", update({"script": "1"}, {"script": want}))]})
    shown = text(journal, 80)
    assert "        and 33 more lines" in shown
    assert max(map(len, shown)) == 80
    assert markdown(journal).count("\n+line ") == 50
    assert document(journal)["groups"][0]["fields"][0]["diff"].count("\n+line ") == 50


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("a\n", "a\r\n", ["-a", "+a␍"]),
        ("a\n", "a", ["-a", "+a", "\\ No newline at end of file"]),
        ("a", "a\u2028b", ["-a", "+a\ufffdb"]),
    ],
    ids=["line ends", "the last line's end", "a line end of Unicode's"],
)
def test_no_change_of_a_script_is_left_out(
    make: Make, before: str, after: str, shown: list[str]
) -> None:
    journal = make({"t0": [item("s", update({"script": before}, {"script": after}))]})
    lines = text(journal)
    place = next(n for n, line in enumerate(lines) if "@@" in line)
    assert [line[8:] for line in lines[place + 1 : place + 1 + len(shown)]] == shown


def test_nothing_that_a_server_says_steers_a_screen_or_makes_markup(make: Make) -> None:
    evil = "x\x1b[31m``` | *a* <b> [l](u)\n# h"
    script = f"ok\n{evil}\n````\n# out\n"
    journal = make(
        {
            "t0": [
                item(evil, update({"script": "ok\n"}, {"script": script})),
                item(evil, update({"name": evil}, {"name": evil + "2"})),
                item(
                    evil, Step(kind="delete", target="h", before={"name": evil}, want={"id": None})
                ),
                item("s", secrets("remove_secrets", {evil: True}, {evil: False})),
                item("d", update({"dependencies": {evil: evil}}, {"dependencies": {}})),
            ]
        }
    )
    assert all(line.isprintable() for line in text(journal))
    ticket = markdown(journal)
    assert all(line.isprintable() for line in ticket.splitlines())
    outside = re.sub(r"(?ms)^(`{3,})diff\n.*?^\1\n", "", ticket)
    assert "`````diff\n" in ticket
    assert "out" not in outside.replace("without", "")
    assert not re.search(r"(?<!\\)[`<>\[\]*]", outside)
    for line in outside.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) in (3, 4, 5), line
    assert document(journal)["items"][1]["name"] == evil


def test_what_cannot_be_undone_is_named_and_counted(make: Make) -> None:
    edits = [
        item("x", secrets("update_secrets", {"KEY": True}, {"KEY": "env:K"})),
        item("y", secrets("remove_secrets", {"OLD": True}, {"OLD": False})),
        item("n", secrets("create_secrets", {"NEW": False}, {"NEW": "env:K"})),
        item("audit", DELETE),
        item("c", OFF),
    ]
    journal = make({"t0": edits, "t1": edits[:2]})
    shown = text(journal)
    place = shown.index("cannot be undone:")
    assert shown[place + 1 : place + 5] == [
        "  the id of deleted hook audit: 1 hook on 1 tenant",
        "  the value of secret KEY, deleted with its hook: 1 hook on 1 tenant",
        "  the value of removed secret OLD: 2 hooks on 2 tenants",
        "  the old value of secret KEY: 2 hooks on 2 tenants",
    ]
    assert [loss["hooks"] for loss in document(journal)["irreversible"]] == [1, 1, 2, 2]
    assert "\n## Cannot be undone\n" in markdown(journal)
    assert "cannot be undone:" not in text(make({"t0": [item("c", OFF)]}))


def test_requests_are_counted_with_the_reads_that_writes_take(make: Make) -> None:
    swapped = {"t0": [SWAP], "t1": [item("c", OFF)], "t2": [item("audit", DELETE)]}
    journal = make(
        swapped | {"t3": [item("x", secrets("update_secrets", {"K": True}, {"K": "e"}))]}
    )
    expected = document(journal)["expected"]
    requests = {name: one["requests"] for name, one in expected["tenants"].items()}
    assert requests == {"t0": 1 + 2 + 2, "t1": 2, "t2": 4, "t3": 4}
    assert expected["requests"] == 15


def test_the_slowest_tenants_are_told_and_the_others_summed(make: Make) -> None:
    journal = make({f"t{n}": [item(f"c{m}", OFF) for m in range(20 + n)] for n in range(8)})
    pace = {"limit": 10, "remaining": 10, "refill": 2.0}
    journal.write([journal.counted(row.id, 1, 0, pace) for row in journal.tenants()])
    assert text(journal)[-7:] == [
        "expected to take about 10 s, 196 requests",
        "  t7  28 requests  about 10 s",
        "  t6  27 requests  about 10 s",
        "  t5  26 requests  about 9 s",
        "  t4  25 requests  about 8 s",
        "  t3  24 requests  about 8 s",
        "  3 other tenants: 66 requests, about 8 s each at most",
    ]
    slowest = as_text(journal, summary(journal), tenants(journal, limits=Limits(max_rate=1)))
    assert "about 28 s" in [line.text for line in slowest][-6]


def test_what_may_have_been_sent_is_shown_and_said(make: Make) -> None:
    journal = make({"t0": [item("a", OFF), item("b", OFF)]})
    journal.write([journal.sent(journal.pending(1, (-1, 0), 1)[0], 0, 1.0)])
    shown = text(journal)
    assert shown[0] == "freeze: 2 items to write on 1 tenant, 1 different change"
    assert shown[2] == "1 of them may have been sent: they are read back first"


def test_a_plan_with_nothing_to_write_says_so_and_why(make: Make) -> None:
    failed = Outcome(state=State.FAILED, cause="no such hook", hint="correct the job")
    journal = make({"t0": [Item(edit=1, target=None, label="x", outcome=failed)]})
    assert text(journal) == [
        "freeze: nothing to write (1 failed)",
        "CHG-1",
        "  1 failed on t0: no such hook (such as x)",
        "      correct the job",
    ]
    assert "## Changes" not in markdown(journal)
    assert "## Not written\n\n- 1 failed on t0: no such hook" in markdown(journal)


def test_json_has_every_item_with_its_change_and_its_edits_note(make: Make) -> None:
    journal = make({"t0": [item("a", OFF), SWAP], "t1": [item("b", OFF)]})
    whole = document(journal)
    off, swap = whole["groups"]
    assert (off["items"], off["tenants"], off["names"]) == (2, ["t0", "t1"], ["a", "b"])
    assert off["fields"] == [
        {"field": "enabled", "what": "enabled", "before": True, "after": False}
    ]
    assert [one["change"] for one in whole["items"]] == [
        off["change"],
        swap["change"],
        off["change"],
    ]
    assert {one["note"] for one in whole["items"]} == {"n"}
    assert [step["back"] for step in whole["items"][1]["steps"]] == [False, False, True]
    assert whole["pending"] == 3


def test_memory_does_not_grow_with_the_items_of_a_plan(make: Make) -> None:
    def peak(items: int) -> int:
        edits = [item(f"a{n}", update({"name": f"a{n}"}, {"name": f"b{n}"})) for n in range(items)]
        journal = make({"t0": edits})
        del edits
        tracemalloc.start()
        for pieces in (as_json, as_markdown, as_text):
            for _ in pieces(journal, summary(journal), tenants(journal)):
                pass
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return taken

    peak(10)  # what is made once
    assert peak(3000) < 1.5 * peak(600)


@pytest.mark.parametrize("no_color", [False, True])
def test_lines_are_coloured_on_a_terminal_unless_no_color_is_set(
    make: Make, monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    journal = make({"t0": [item("s", update({"script": "1"}, {"script": "2 " * 60}))]})
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 60))
    with open(slave, "w") as out:
        show_changes(journal, summary(journal), tenants(journal), out)
        out.flush()
        shown = ""
        while "expected to take" not in shown:
            shown += os.read(master, 10_000).decode()
    os.close(master)
    assert ("\x1b[32m        +2 2" in shown) is not no_color
    assert ("\x1b" in shown) is not no_color
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(map(len, plain.splitlines())) == 60


def test_lines_of_a_diff_have_the_tints_of_their_signs(make: Make) -> None:
    journal = make({"t0": [item("s", update({"script": "a\nb"}, {"script": "a\nc"}))]})
    lines = as_text(journal, summary(journal), tenants(journal))
    tints = [line.tint for line in lines if line.text.startswith("        ")]
    assert tints == [Tint.PLACE, Tint.PLAIN, Tint.MINUS, Tint.PLUS]
