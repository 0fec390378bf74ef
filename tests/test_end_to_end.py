"""The program as people run it, over real sockets: what it promises about every run."""

from __future__ import annotations

import itertools
import json
import re
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bulkhooks.sandbox import Request
from bulkhooks.sandbox.buckets import Bucket
from world import NAMES, Make, World

WANTED = {"axios": "9.9.9"}


def dependencies_job(world: World, wanted: Any = WANTED) -> None:
    """Every hook of every tenant gets the same dependencies, by id."""
    edits = [
        {"tenant": name, "hook": id, "set": {"dependencies": wanted}}
        for name in world.tenants
        for id in world.ids(name)
    ]
    world.write("job.jsonl", edits)


def written(world: World) -> Counter[tuple[str, str]]:
    return Counter((seen.tenant, seen.path) for seen in world.sandbox.writes())


def assert_each_written_once(world: World) -> None:
    assert set(written(world).values()) == {1}
    for name in world.tenants:
        assert all(hook["dependencies"] == WANTED for hook in world.sandbox.hooks_of(name))


def test_a_killed_run_goes_on_and_writes_nothing_twice(make: Make) -> None:
    world = make(hooks=200, latency=0.01)
    dependencies_job(world)
    with world.start_job("job.jsonl") as process:
        world.wait_for(lambda: len(world.sandbox.writes()) > 300)
        process.kill()
    assert 300 < len(world.sandbox.writes()) < 1000
    assert world.books()["next"] == "bulkhooks apply j"
    world.run_job("job.jsonl")
    assert_each_written_once(world)
    assert world.books()["applied"] == 1000

    before = len(world.sandbox.log)
    third = world.run_job("job.jsonl")
    assert "nothing sent; journal of 20" in third.stderr
    assert len(world.sandbox.log) == before

    world.run_job("job.jsonl", "--fresh")
    assert world.books()["unchanged"] == 1000
    reads = Counter(seen.tenant for seen in world.sandbox.log[before:])
    assert set(reads) == set(NAMES)
    assert max(reads.values()) <= 3
    assert len(world.sandbox.writes()) == 1000
    assert len(list(world.folder.glob("j.20*"))) == 1, "the old journal is put aside"


def test_a_job_with_bad_lines_shows_them_all_and_sends_nothing(make: Make) -> None:
    world = make()
    good = {"tenant": "t0", "hook": world.ids("t0")[0], "set": {"enabled": False}}
    lines = [json.dumps(good)] * 6
    lines[1] = '{"tenant": "t0", "hook": '
    lines[3] = json.dumps(good | {"sett": {}})
    lines[5] = json.dumps(good | {"set": {"enabled": "true"}})
    world.write("job.jsonl", "\n".join(lines))
    told = world.run_job("job.jsonl", status=2).stderr
    assert [line.split(":")[1] for line in told.splitlines()] == ["2", "4", "6"]
    assert world.sandbox.log == []
    assert not (world.folder / "j").exists()


def test_a_low_limit_of_open_files_is_raised(make: Make) -> None:
    world = make([f"t{number}" for number in range(120)], hooks=1, latency=0.1)
    dependencies_job(world)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        process = world.start_job("job.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with process:
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert "Too many open files" not in err


def test_ctrl_c_lets_what_is_in_flight_end_and_says_how_to_go_on(make: Make) -> None:
    world = make(hooks=200, latency=0.05)
    dependencies_job(world)
    with world.start_job("job.jsonl") as process:
        world.wait_for(lambda: len(world.sandbox.writes()) > 100)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 3, err
    assert "next: bulkhooks apply j" in out
    books = world.books()
    assert books["uncertain"] == 0
    assert books["applied"] == len(world.sandbox.writes()) < 1000
    world.call("apply", "j", "--yes")
    assert_each_written_once(world)


def test_a_second_ctrl_c_waits_for_nothing_and_nothing_is_lost(make: Make) -> None:
    hung = set[str]()

    def hang_once(request: Request) -> Any:
        if request.method == "PATCH" and request.path not in hung and len(hung) < 3:
            hung.add(request.path)
            return "hang"
        return None

    world = make(("t0",), hooks=8, fault=hang_once)
    dependencies_job(world)
    with world.start_job("job.jsonl") as process:
        world.wait_for(lambda: len(world.sandbox.writes()) == 8)
        process.send_signal(signal.SIGTERM)
        world.wait_for(lambda: process.poll() is None)
        with pytest.raises(Exception, match="timed out"):
            process.wait(0.3)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode in (1, 3)
    assert world.books()["uncertain"] == 3
    world.call("apply", "j", "--yes")
    assert_each_written_once(world)


def test_one_journal_has_one_worker_and_the_second_learns_who(make: Make) -> None:
    world = make(hooks=100, latency=0.1)
    dependencies_job(world)
    with world.start_job("job.jsonl") as first:
        world.wait_for(lambda: len(world.sandbox.writes()) > 10)
        world.sandbox.latency = 2.0  # the first is at work for long
        second = world.call("apply", "j", "--yes", status=2)
        assert f"in use by process {first.pid}" in second.stderr
        first.kill()
    world.sandbox.latency = 0.0
    world.call("apply", "j", "--yes")
    assert_each_written_once(world)


def test_whoever_looks_at_a_journal_does_not_hold_its_worker_up(make: Make) -> None:
    world = make(("t0", "t1"), hooks=100, latency=0.02)
    dependencies_job(world)
    looks = 0
    with world.start_job("job.jsonl") as process:
        world.wait_for(lambda: len(world.sandbox.writes()) > 0)
        while process.poll() is None:
            looks += world.books()["planned"] == 200
    assert process.returncode == 0
    assert looks
    assert_each_written_once(world)


def test_one_tenant_has_one_worker_whatever_the_journal(make: Make) -> None:
    world = make(("t0",), hooks=100, latency=0.1)
    dependencies_job(world)
    with world.start_job("job.jsonl") as first:
        world.wait_for(lambda: len(world.sandbox.writes()) > 2)
        world.sandbox.latency = 5.0  # the first is at work for long
        before = len(world.sandbox.writes())
        words = ("--tenants", "tenants.json", "--journal", "other", "--yes")
        second = world.call("run", "job.jsonl", *words, status=2)
        assert f"in use by process {first.pid}" in second.stderr
        assert before < 100
        assert not (world.folder / "other").exists()
        first.kill()


def test_one_tenants_bad_token_stops_that_tenant_alone(make: Make) -> None:
    world = make(hooks=20)
    dependencies_job(world)
    world.tenants["t3"]["token"] = "env:BAD_TOKEN"
    world.write_tenants()
    world.run_job("job.jsonl", status=1)
    books = world.books()
    assert (books["applied"], books["failed"]) == (80, 20)
    (cause,) = books["causes"]
    assert (cause["count"], cause["tenants"]) == (20, ["t3"])
    assert cause["cause"].startswith("401")
    assert books["tenants"]["t3"]["failed"] == 20

    world.tenants["t3"]["token"] = "env:TOKEN"
    world.write_tenants()
    assert books["next"] == "bulkhooks apply j --failed"
    world.call("apply", "j", "--failed", "--yes")
    assert_each_written_once(world)
    assert world.books()["applied"] == 100


def test_a_token_that_goes_bad_under_way_stops_that_tenant_alone(make: Make) -> None:
    def refuse(request: Request) -> Any:
        return None

    world = make(("t0", "t1"), hooks=50, latency=0.02)
    dependencies_job(world)
    world.call("plan", "job.jsonl", "--tenants", "tenants.json", "--journal", "j")
    world.tenants["t1"]["token"] = "env:BAD_TOKEN"
    world.write_tenants()
    world.call("apply", "j", "--tenants", "tenants.json", "--yes", status=1)
    books = world.books()
    assert (books["applied"], books["failed"]) == (50, 50)
    assert len(books["causes"]) == 1


def test_a_write_whose_answer_was_cut_off_is_read_back_and_not_sent_again(make: Make) -> None:
    cut = Counter[str]()

    def fault(request: Request) -> Any:
        if request.method == "PATCH":
            cut[request.path] += 1
            return "cut-after" if cut[request.path] == 1 else None
        return None

    world = make(("t0",), hooks=12, fault=fault)
    dependencies_job(world)
    world.run_job("job.jsonl")
    assert_each_written_once(world)
    assert world.books()["applied"] == 12


def test_a_journal_of_the_sandbox_is_never_taken_for_the_tenants(make: Make) -> None:
    world = make(("t0", "t1"))
    world.write(
        "job.json",
        {
            "name": "freeze",
            "edits": [
                {
                    "tenants": "t*",
                    "hooks": {"triggerId": "pre-user-registration", "enabled": True},
                    "set": {"enabled": False},
                }
            ],
        },
    )
    world.env["TOKEN"] = ""
    world.call("run", "job.json", "--tenants", "tenants.json", "--sandbox")
    assert world.sandbox.log == []
    world.env["TOKEN"] = "sandbox"
    world.call("run", "job.json", "--tenants", "tenants.json", "--yes")
    assert len(world.sandbox.writes()) == 2
    assert world.books("freeze.journal")["applied"] == 2
    assert world.books("freeze.sandbox.journal")["applied"] == 2
    refused = world.call("apply", "freeze.sandbox.journal", "--yes", status=2)
    assert "pretend tenants are gone" in refused.stderr


def test_a_reader_that_goes_away_does_not_stop_the_work(make: Make) -> None:
    world = make(("t0",), hooks=30)
    dependencies_job(world)
    with world.start_job("job.jsonl") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.close()
        process.stdout.close()
    assert process.returncode == 0
    assert_each_written_once(world)


def test_a_rehearsal_never_takes_the_place_of_real_work(make: Make) -> None:
    world = make(("t0",), hooks=5)
    dependencies_job(world)
    world.run_job("job.jsonl")
    words = ("--tenants", "tenants.json", "--journal", "j", "--sandbox")
    told = world.call("run", "job.jsonl", *words, status=2)
    assert "not a journal of the sandbox" in told.stderr
    assert world.books()["applied"] == 5


@pytest.mark.parametrize("when", ["planning", "writing"])
def test_what_failed_is_shown_and_asked_for_before_it_is_tried_again(make: Make, when: str) -> None:

    world = make(("t0",), hooks=5)
    dependencies_job(world)
    if when == "writing":
        world.call("plan", "job.jsonl", "--tenants", "tenants.json", "--journal", "j")
    world.sandbox._refuse = frozenset(["t0"])
    world.run_job("job.jsonl", status=1)
    assert world.books()["failed"] == 5
    world.sandbox._refuse = frozenset()
    told = world.call("apply", "j", "--failed", status=2)
    assert "5 items to write on 1 tenant" in told.stderr
    assert world.sandbox.writes() == []
    assert world.books()["planned"] == 5
    world.call("apply", "j", "--failed", "--yes")
    assert_each_written_once(world)


def test_what_was_to_make_room_and_failed_holds_back_what_needs_the_room(make: Make) -> None:
    world = make(("t0",), hooks=0)
    sandbox = world.sandbox
    off = sandbox.add_hook("t0", name="a", triggerId="send-phone-message", enabled=True)["id"]
    on = sandbox.add_hook("t0", name="b", triggerId="send-phone-message")["id"]
    edits = [
        {"tenant": "t0", "hook": on, "set": {"enabled": True}},
        {"tenant": "t0", "hook": off, "set": {"enabled": False}},
    ]
    world.write("job.jsonl", edits)
    world.call("plan", "job.jsonl", "--tenants", "tenants.json", "--journal", "j")
    del sandbox._tenants["t0"].hooks[off]
    world.call("apply", "j", "--yes", status=1)
    books = world.books()
    assert (books["failed"], books["skipped"]) == (2, 0)
    assert sandbox.writes() == []


def test_without_a_terminal_nothing_is_written_unless_yes_is_said(make: Make) -> None:
    world = make(("t0",), hooks=5)
    dependencies_job(world)
    words = ("--tenants", "tenants.json", "--journal", "j")
    told = world.call("run", "job.jsonl", *words, status=2)
    assert "--yes" in told.stderr
    assert world.sandbox.writes() == []
    world.call("run", "job.jsonl", *words, "--yes")
    assert_each_written_once(world)


def test_another_job_is_told_what_differs(make: Make) -> None:
    world = make(("t0",), hooks=3)
    dependencies_job(world)
    world.run_job("job.jsonl")
    dependencies_job(world, {"axios": "1.0.0"})
    told = world.run_job("job.jsonl", status=2).stderr
    assert "is new or was changed" in told
    assert "--fresh" in told
    world.run_job("job.jsonl", "--fresh")
    assert len(world.sandbox.writes()) == 6


def test_a_hook_that_was_changed_after_the_plan_is_left_alone(make: Make) -> None:
    world = make(("t0",), hooks=3)
    dependencies_job(world)
    world.call("plan", "job.jsonl", "--tenants", "tenants.json", "--journal", "j")
    hook = world.sandbox._tenants["t0"].hooks[world.ids("t0")[1]]
    hook["dependencies"] = {"lodash": "4.17.21"}
    world.call("apply", "j", "--yes", status=1)
    books = world.books()
    assert (books["applied"], books["skipped"]) == (2, 1)
    assert books["causes"][0]["cause"].startswith("drifted")
    assert hook["dependencies"] == {"lodash": "4.17.21"}


def test_a_selector_that_matches_nothing_is_an_error_unless_it_may(make: Make) -> None:
    world = make(("t0",), hooks=5)
    none = {"tenant": "t0", "hooks": {"name": "zzz*"}, "set": {"enabled": False}}
    world.write("job.jsonl", [none])
    told = world.run_job("job.jsonl", status=2).stderr
    assert "job.jsonl:1: hooks: edit" in told
    assert not (world.folder / "j").exists()
    world.write("job.jsonl", [none | {"allow_empty": True}])
    world.run_job("job.jsonl")
    assert world.books()["planned"] == 0


def test_one_hook_that_is_not_there_is_one_failed_item(make: Make) -> None:
    world = make(("t0",), hooks=5)
    missing = {"tenant": "t0", "hook": "NOSUCHHOOK", "set": {"enabled": False}}
    there = {"tenant": "t0", "hook": world.ids("t0")[0], "set": {"enabled": False}}
    world.write("job.jsonl", [missing, there])
    world.run_job("job.jsonl", status=1)
    books = world.books()
    assert (books["failed"], books["applied"]) == (1, 1)
    assert books["causes"][0]["cause"] == "no such hook"
    assert "such as NOSUCHHOOK" in world.call("status", "j").stdout


def test_a_tight_limit_is_kept_and_the_run_ends(make: Make) -> None:
    world = make(("t0", "t1"), hooks=15, bucket=Bucket(burst=10, rate=20))
    dependencies_job(world)
    world.run_job("job.jsonl")
    assert_each_written_once(world)
    for seen in world.sandbox.statistics().values():
        assert seen.throttled == 0


def test_requests_are_one_for_each_edit_and_one_list_for_each_tenant(make: Make) -> None:
    world = make(("t0", "t1", "t2"), hooks=100)
    dependencies_job(world)
    world.run_job("job.jsonl")
    assert_each_written_once(world)
    assert len(world.sandbox.log) == 3 * (100 + 1) <= 1.03 * 300


def test_no_tenant_waits_for_anothers_limit(make: Make) -> None:
    names = tuple(f"t{number}" for number in range(60))
    tight = Bucket(burst=2, rate=1)
    world = make(names, hooks=4, buckets={"t0": tight})
    dependencies_job(world)
    world.run_job("job.jsonl")
    assert_each_written_once(world)
    log = world.sandbox.log
    assert max(Counter(seen.tenant for seen in log).values()) <= 5
    assert log[-1].tenant == "t0"  # it has to wait for its tokens


def test_a_tenant_that_cannot_be_reached_stops_itself_alone(make: Make) -> None:
    world = make(("t0", "t1"), hooks=5)
    dependencies_job(world)
    world.tenants["t1"]["base_url"] = "http://127.0.0.1:9/t1"
    world.write_tenants()
    world.run_job("job.jsonl", status=1)
    books = world.books()
    assert (books["applied"], books["failed"]) == (5, 5)
    assert "cannot connect" in books["causes"][0]["cause"]


def test_scripts_are_set_and_read_alone_and_kept_in_the_journal(make: Make) -> None:
    world = make(("t0",), hooks=5)
    (world.folder / "hook.js").write_text("module.exports = 1;\n" * 30)
    first, second = world.ids("t0")[:2]
    edits = [
        {"tenant": "t0", "hook": first, "set": {"script_file": "hook.js"}},
        {"tenant": "t0", "hook": second, "set": {"script": "module.exports = 2;"}},
    ]
    world.write("job.jsonl", edits)
    world.run_job("job.jsonl")
    scripts = [hook["script"] for hook in world.sandbox.hooks_of("t0")[:2]]
    assert scripts == ["module.exports = 1;\n" * 30, "module.exports = 2;"]
    world.run_job("job.jsonl", "--fresh")
    assert world.books()["unchanged"] == 2


def test_the_sandbox_serves_the_tenants_of_a_file_until_it_is_told_to_end(make: Make) -> None:
    world = make(("t0", "t1"))
    words = ("--tenants", "tenants.json", "--port", "0", "--hooks", "3", "--json")
    with world.start("sandbox", *words) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        served = json.loads("".join(itertools.takewhile(lambda line: line != "}\n", lines)) + "}")
        world.tenants = {
            name: {"base_url": url, "token": "env:TOKEN"} for name, url in served["tenants"].items()
        }
        world.write_tenants()
        edit = {"tenants": "t*", "hooks": {"name": "*"}, "set": {"dependencies": WANTED}}
        world.write("job.jsonl", [edit])
        world.run_job("job.jsonl")
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 0
    assert world.books()["applied"] == 6


def test_an_edits_id_and_note_come_back_in_the_plan(make: Make) -> None:
    world = make(("t0",), hooks=2)
    first, second = world.ids("t0")
    off = {"set": {"dependencies": WANTED}, "tenant": "t0"}
    world.write(
        "job.jsonl", [off | {"hook": first, "id": "x", "note": "why"}, off | {"hook": second}]
    )
    words = ("job.jsonl", "--tenants", "tenants.json", "--journal", "j", "--json")
    one, two = json.loads(world.call("plan", *words).stdout)["items"]
    assert (one["edit"], one["note"]) == ("x", "why")
    assert two["note"] is None


def test_validate_and_plan_answer_and_send_no_write(make: Make) -> None:
    world = make(("t0",), hooks=30)
    dependencies_job(world)
    words = ("job.jsonl", "--tenants", "tenants.json")
    assert "30 edits, nothing wrong" in world.call("validate", *words).stdout
    assert world.sandbox.log == []
    shown = world.call("plan", *words, "--journal", "j").stdout
    assert "30 items to write on 1 tenant" in shown
    assert "change dependencies of 20 hooks on t0: " in shown
    assert "dependencies (the whole map): {axios 1.7.9} → {axios 9.9.9}" in shown
    assert "expected to take" in shown
    planned = json.loads(world.call("plan", *words, "--journal", "j", "--json").stdout)
    assert planned["pending"] == len(planned["items"]) == 30
    assert planned["expected_seconds"] == planned["expected"]["seconds"] >= 0
    assert planned["expected"]["tenants"]["t0"]["requests"] == 31
    assert {item["change"] for item in planned["items"]} == {
        group["change"] for group in planned["groups"]
    }
    ticket = world.call("plan", *words, "--journal", "j", "--markdown")
    assert ticket.stdout.startswith("# job\n")
    assert "next: bulkhooks apply j" in ticket.stderr
    world.call("plan", *words, "--json", "--markdown", status=2)
    assert world.sandbox.writes() == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_needs_none_of_its_three_streams(tmp_path: Path, closed: str) -> None:
    job = Path(__file__).parents[1] / "jobs" / "freeze-signups.yaml"
    command = f"{sys.executable} -m bulkhooks run {job} --sandbox {closed}"
    assert subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True).returncode == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_a_few_names_that_cannot_be_resolved_leave_threads_for_the_others() -> None:
    program = """
import asyncio, os
from bulkhooks.desk import run_async

async def look_up():
    await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
    print(len(os.listdir("/proc/self/task")))

run_async(look_up())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert int(ended.stdout) > 64, ended.stderr


def test_what_a_run_asks_before_it_writes_knows_the_tenants_pace(make: Make) -> None:
    world = make(("t0",), hooks=16, bucket=Bucket(burst=4, rate=4))
    dependencies_job(world)
    fixed = ("--tenants", "tenants.json", "--journal", "j")
    asked = world.call("run", "job.jsonl", *fixed, status=2).stderr
    planned = world.call("plan", "job.jsonl", *fixed).stdout
    told = [re.findall("expected to take about .*", text) for text in (asked, planned)]
    assert told[0] == told[1] != []


def test_a_switch_is_shown_with_the_names_of_both_hooks(make: Make) -> None:
    world = make(("t0", "t1"), hooks=0)
    for name in world.tenants:
        world.sandbox.add_hook(name, name="a", triggerId="send-phone-message", enabled=True)
        world.sandbox.add_hook(name, name="b", triggerId="send-phone-message")
    world.write("job.jsonl", [{"tenants": "t*", "hook": {"name": "b"}, "set": {"enabled": True}}])
    words = ("job.jsonl", "--tenants", "tenants.json", "--journal", "j")
    shown = world.call("plan", *words).stdout
    assert "  switch send-phone-message from a to b on 2 tenants (t0, t1)\n" in shown
    assert "expected to take less than a second, 10 requests" in shown
    before = len(world.sandbox.log)
    world.call("apply", "j", "--yes")
    assert len(world.sandbox.log) - before <= 10
