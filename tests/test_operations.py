"""What docs/operations.md and its samples promise is so."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bulkhooks.metrics import Seen, as_text
from bulkhooks.permit import Phase
from bulkhooks.schedule import Span
from bulkhooks.tenants import Route

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "operations.md").read_text()
AGAIN = {"3", "5"}
BY_A_PERSON = {"1", "2", "4", "70"}


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(DOCS / "systemd" / name)
    return parser


def cronjob() -> dict[str, Any]:
    return dict(yaml.safe_load((DOCS / "kubernetes" / "cronjob.yaml").read_text())["spec"])


def test_the_exit_statuses_are_those_of_readme_and_each_says_whether_to_run_it_again() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| (no|yes|as you like)", PAGE, re.MULTILINE)
    assert {status for status, again in rows if again == "yes"} == AGAIN
    assert {status for status, again in rows if again == "no"} == BY_A_PERSON | {"0"}
    readme = (DOCS.parent / "README.md").read_text()
    assert set(re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)) <= {row[0] for row in rows}


def test_systemd_runs_again_what_goes_on_and_leaves_the_rest_to_a_person() -> None:
    service = unit("bulkhooks-freeze.service")["Service"]
    assert service["Restart"] == "on-failure"
    assert set(service["RestartPreventExitStatus"].split()) == BY_A_PERSON
    assert not AGAIN & set(service.get("SuccessExitStatus", "").split())
    assert f"`RestartPreventExitStatus={service['RestartPreventExitStatus']}`" in PAGE
    assert not {"RuntimeMaxSec", "TimeoutSec", "TimeoutStartSec"} & set(service)
    timer = unit("bulkhooks-freeze.timer")["Timer"]
    assert timer["Persistent"] == "true"
    assert "OnBootSec" in timer


def test_kubernetes_runs_again_what_goes_on_and_leaves_the_rest_to_a_person() -> None:
    spec = cronjob()
    job = spec["jobTemplate"]["spec"]
    rules = {rule["action"]: rule for rule in job["podFailurePolicy"]["rules"]}
    told = {
        action: {str(value) for value in rule.get("onExitCodes", {}).get("values", ())}
        for action, rule in rules.items()
    }
    assert told == {"FailJob": BY_A_PERSON, "Ignore": set(), "Count": AGAIN}
    pod = job["template"]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert pod["restartPolicy"] == "Never", "a pod's failure policy takes no other"
    assert "activeDeadlineSeconds" not in job.keys() | pod.keys()
    assert f"terminationGracePeriodSeconds: {pod['terminationGracePeriodSeconds']}" in PAGE
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    assert container["workingDir"] == mounts["state"]
    assert {"name": "XDG_STATE_HOME", "value": mounts["state"]} in container["env"]


def test_all_of_them_run_the_same_command() -> None:
    service = shlex.split(unit("bulkhooks-freeze.service")["Service"]["ExecStart"])
    (container,) = cronjob()["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (cron,) = re.findall(r"^45 .* && (bulkhooks .*)$", PAGE, re.MULTILINE)
    for words in (service, container["command"], shlex.split(cron)):
        assert Path(words[0]).name == "bulkhooks"
        assert words[1] == "run"
        assert Path(words[2]).name == "freeze-window.yaml"
        assert words[3] == "--yes"
        assert "--no-wait" not in words


def test_a_supervisor_waits_longer_than_a_request_takes() -> None:
    service = unit("bulkhooks-freeze.service")["Service"]
    assert float(service["TimeoutStopSec"]) > 2 * Route().request


def exposed() -> set[str]:
    """The names of all metrics that there are."""
    phase = Phase(span=Span(0, 1))
    seen = Seen(
        job="j",
        now=1,
        started=1,
        ended=1,
        status=0,
        frozen=True,
        phase=phase,
        halted=False,
        paused=False,
        views=(),
        requests={},
        books={},
    )
    return set(re.findall(r"^# TYPE (\w+)", as_text(seen).decode(), re.MULTILINE))


def test_the_page_names_the_metrics_that_there_are() -> None:
    rows = [row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| `bulkhooks_")]
    named: set[str] = set()
    for row in rows:
        first = ""
        for name in re.findall(r"`(\w+)`", row):
            first = first or name.rpartition("_")[0]
            named.add(first + name if name.startswith("_") else name)
    assert named == exposed()


def rules() -> list[Mapping[str, Any]]:
    (group,) = yaml.safe_load((DOCS / "prometheus" / "bulkhooks.rules.yaml").read_text())["groups"]
    return list(group["rules"])


def test_the_alerts_ask_for_metrics_and_labels_that_there_are() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        names = set(re.findall(r"bulkhooks_\w+", rule["expr"]))
        assert names
        assert names <= exposed(), rule["alert"]
        labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert labels <= {"job_name", "tenant"}
    (shown,) = re.findall(r"^```\n(bulkhooks_freeze_open.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert rules()[0]["expr"].split() == shown.split()


@pytest.mark.parametrize("name", ["bulkhooks-freeze.service", "bulkhooks-freeze.timer"])
def test_a_unit_says_what_it_is(name: str) -> None:
    assert unit(name)["Unit"]["Description"].startswith("bulkhooks: ")
