"""Probes: what they are given, what their ends mean, and which of them are not run."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from bulkhooks import probes
from bulkhooks.errors import Refused, Stopped
from bulkhooks.gates import Stop
from bulkhooks.journal import Journal
from bulkhooks.probes import Answer, Verdict, check_probes, probe
from bulkhooks.schedule import Schedule, Wave
from bulkhooks.tenants import Tenant

TENANTS = [
    replace(Tenant.with_token(name, f"https://{name}.example", "marker"), tags=frozenset(tags))
    for name, tags in (("t0", {"prod", "eu"}), ("t1", set()))
]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    (tmp_path / "jobs").mkdir()
    with Journal.create(tmp_path / "jobs" / "j") as made:
        made.note(job="freeze", file=str(tmp_path / "jobs" / "job.yaml"))
        yield made


def script(folder: Path, body: str, name: str = "smoke.py") -> Path:
    """A probe in Python."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(0o755)
    return path


def asked(command: str, journal: Journal, folder: Path | None = None) -> Verdict:
    async def ask() -> Verdict:
        return await probe(
            command,
            TENANTS,
            journal=journal,
            wave=2,
            of=3,
            folder=folder or journal.path.parent,
            stop=Stop(),
        )

    return anyio.run(ask)


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("", Verdict(Answer.GOOD, "")),
        ("print('all well')", Verdict(Answer.GOOD, "all well")),
        ("raise SystemExit('login fails')", Verdict(Answer.BAD, "login fails")),
        ("print('look'); raise SystemExit(2)", Verdict(Answer.ASK, "look")),
        ("raise SystemExit(3)", Verdict(Answer.BAD, "the probe ended with status 3")),
        (
            "print('no', flush=True); import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            Verdict(Answer.BAD, "the probe was ended by SIGKILL\nno"),
        ),
    ],
    ids=["silent", "good", "bad", "ask", "status", "signal"],
)
def test_what_a_probe_says_is_its_exit_status(
    journal: Journal, body: str, verdict: Verdict
) -> None:
    script(journal.path.parent, body)
    assert asked("./smoke.py", journal) == verdict


def test_a_probe_is_given_the_wave(journal: Journal) -> None:
    folder = journal.path.parent
    script(folder, "import os, sys; print(os.getcwd()); print(sys.argv[1:]); print(input())")
    where, words, given = asked("./smoke.py 'one word' two", journal).told.splitlines()
    assert where == str(folder.resolve())
    assert words == "['one word', 'two']"
    assert (given[:6], given[-1], len(given)) == ('{"job"', "…", 200)  # a line has its bounds
    script(folder, "import sys; open('given', 'w').write(sys.stdin.read())")
    assert asked("./smoke.py", journal).answer is Answer.GOOD
    assert json.loads((folder / "given").read_text()) == {
        "job": "freeze",
        "journal": str(folder / "j"),
        "wave": 2,
        "of": 3,
        "tenants": [
            {"name": "t0", "base_url": "https://t0.example", "tags": ["eu", "prod"]},
            {"name": "t1", "base_url": "https://t1.example", "tags": []},
        ],
    }
    assert "marker" not in (folder / "given").read_text()


def test_the_last_lines_are_told_and_steer_no_terminal(journal: Journal) -> None:
    script(
        journal.path.parent,
        "import sys\nfor n in range(9000): print(n)\n"
        "sys.stderr.write('\\x1b[2Jred\\n\\n'); sys.stdout.buffer.write(b'\\xff\\x07')",
    )
    lines = asked("./smoke.py", journal).told.splitlines()
    assert len(lines) == 5
    assert {"␛[2Jred", "8999", "�␇"} >= {*lines[-2:]}


def test_nobody_has_to_read_what_a_probe_is_given(journal: Journal) -> None:
    many = [replace(TENANTS[0], name=f"t{n}") for n in range(5_000)]
    script(journal.path.parent, "print('unread')")

    async def ask() -> Verdict:
        return await probe(
            "./smoke.py",
            many,
            journal=journal,
            wave=1,
            of=1,
            folder=journal.path.parent,
            stop=Stop(),
        )

    assert anyio.run(ask) == Verdict(Answer.GOOD, "unread")


def gone(pid: int) -> bool:
    """Whether a process has ended, or is only to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


#: Says who it and its child are, and goes on.
LASTING = """import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
open('pids.new', 'w').write(f'{os.getpid()} {child.pid}')
os.rename('pids.new', 'pids')
time.sleep(600)"""


def pids(folder: Path) -> list[int]:
    for _ in range(2_000):
        if (folder / "pids").exists():
            return [*map(int, (folder / "pids").read_text().split())]
        time.sleep(0.005)
    raise AssertionError("it never began")


def ended(these: list[int]) -> bool:
    for _ in range(2_000):
        if all(map(gone, these)):
            return True
        time.sleep(0.005)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_a_stop_ends_a_probe_and_what_it_started(journal: Journal) -> None:
    folder = journal.path.parent
    script(folder, LASTING)
    stop = Stop()
    found: list[int] = []

    async def stopped() -> None:
        found.extend(await anyio.to_thread.run_sync(pids, folder))
        stop.ask()

    async def ask() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stopped)
            with pytest.raises(Stopped):
                await probe(
                    "./smoke.py", TENANTS, journal=journal, wave=1, of=1, folder=folder, stop=stop
                )

    anyio.run(ask)
    assert ended(found)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_a_probe_that_takes_too_long_is_bad_and_ended(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = journal.path.parent
    script(folder, LASTING)
    # It ends as soon as it has begun: time goes by when its child is there.
    began = lambda: 0.0 if not (folder / "pids").exists() else 601.0  # noqa: E731
    monkeypatch.setattr(probes, "monotonic", began)
    assert asked("./smoke.py", journal).told == "the probe took longer than 10 min"
    assert ended(pids(folder))


def test_a_command_without_a_path_is_looked_for_on_path(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "bin", "print('found')", "bulkhooks-smoke")
    assert asked("bulkhooks-smoke", journal).answer is Answer.BAD
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert asked("bulkhooks-smoke", journal) == Verdict(Answer.GOOD, "found")


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("./none.py", "cannot be run: No such file or directory; it begins in "),
        ("./plain.txt", "cannot be run: it is no file that may be executed; chmod +x it"),
        ("./sub/", "cannot be run: it is no file that may be executed; chmod +x it"),
        ("../outside.py", "is not run: it lies outside of "),
        ("./link.py", "is not run: it lies outside of "),
        ("/bin/sh -c true", "is not run: it lies outside of "),
        ("no-such-command", "cannot be run: no no-such-command on PATH"),
        ("'./smoke.py", "has a quote that does not end, or no command"),
        ("./a\0b", "cannot be run: "),
    ],
)
def test_what_is_not_there_or_lies_elsewhere_is_not_run(
    journal: Journal, command: str, what: str
) -> None:
    folder = journal.path.parent
    (folder / "plain.txt").write_text("")
    (folder / "sub").mkdir()
    outside = script(folder.parent, "open('ran', 'w')", "outside.py")
    (folder / "link.py").symlink_to(outside)
    verdict = asked(command, journal)
    assert verdict.answer is Answer.BAD
    assert what in verdict.told
    assert verdict.told.isprintable()
    schedule = Schedule(waves=(Wave(count=1, probe="read-back"), Wave(count=2, probe=command)))
    with pytest.raises(Refused) as caught:
        check_probes(journal, schedule, folder)
    assert str(caught.value).startswith("the probe of wave 2: ")
    assert what in str(caught.value)
    assert not [*folder.parent.rglob("ran")]


def test_a_program_that_cannot_be_started_is_bad(journal: Journal) -> None:
    path = script(journal.path.parent, "")
    path.write_text("#!/no/such/interpreter\n")
    assert asked("./smoke.py", journal) == Verdict(
        Answer.BAD, "the probe cannot be run: No such file or directory"
    )


def test_a_journal_from_elsewhere_runs_nothing_of_the_folder_that_it_names(
    journal: Journal, tmp_path: Path
) -> None:
    script(tmp_path / "handed", "print('mine')")
    script(journal.path.parent, "print('of the job')")
    # Where the journal is above its job, as it is by default, the job's folder is where it begins.
    assert asked("./smoke.py", journal, tmp_path).told == "of the job"
    # Handed over, nothing of the folder that it names is run.
    assert asked("./smoke.py", journal, tmp_path / "handed").told == "mine"


def test_probes_that_can_be_run_are_let_pass(journal: Journal) -> None:
    script(journal.path.parent, "")
    waves = (Wave(count=1), Wave(count=2, probe="read-back"), Wave(count=3, probe="./smoke.py"))
    check_probes(journal, Schedule(waves=waves), journal.path.parent)
