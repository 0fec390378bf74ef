"""The pretend service keeps the rules that Auth0 documents."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections import Counter
from email.utils import parsedate_to_datetime
from typing import Any, get_args

import aiohttp
import pytest

from asking import BEARER, CREDENTIALS, NOW, ask, certified, hook_path, json, rate
from bulkhooks.sandbox import MASK, Sandbox, SecondEnable, serve
from bulkhooks.sandbox.buckets import BUCKETS, Bucket, Logins
from bulkhooks.sandbox.pretend import Gone


def two_hooks(second_enable: SecondEnable = "conflict") -> Sandbox:
    """A tenant with two hooks of one trigger: `on`, enabled, and `off`."""
    sandbox = Sandbox(["acme"], hooks=0, second_enable=second_enable)
    sandbox.add_hook("acme", name="on", triggerId="send-phone-message", enabled=True)
    sandbox.add_hook("acme", name="off", triggerId="send-phone-message")
    return sandbox


def enabled(sandbox: Sandbox) -> list[str]:
    return [hook["name"] for hook in sandbox.hooks_of("acme") if hook["enabled"]]


# What is there at first


def test_generated_hooks_are_the_same_in_every_run_and_valid() -> None:
    hooks = Sandbox(["acme"]).hooks_of("acme")

    assert hooks == Sandbox(["other", "acme"]).hooks_of("acme")
    assert len({hook["name"] for hook in hooks}) == len({hook["id"] for hook in hooks}) == 25
    assert all(re.fullmatch("[A-Z0-9]{26}", hook["id"]) for hook in hooks)
    assert all(re.fullmatch("[a-z0-9][a-z0-9-]*[a-z0-9]", hook["name"]) for hook in hooks)
    assert any(hook["dependencies"] for hook in hooks)


def test_the_first_generated_hook_of_each_trigger_is_enabled_and_no_other() -> None:
    hooks = Sandbox(["acme"]).hooks_of("acme")

    assert len({hook["triggerId"] for hook in hooks[:5]}) == 5
    assert [hook["enabled"] for hook in hooks] == [True] * 5 + [False] * 20
    assert ("fraud-check", "pre-user-registration") in [
        (hook["name"], hook["triggerId"]) for hook in hooks[:5]
    ]


def test_tenants_do_not_share_ids() -> None:
    sandbox = Sandbox(["a", "b"])

    assert not {h["id"] for h in sandbox.hooks_of("a")} & {h["id"] for h in sandbox.hooks_of("b")}


def test_hooks_of_gives_a_copy() -> None:
    sandbox = two_hooks()
    sandbox.hooks_of("acme")[0]["enabled"] = False

    assert enabled(sandbox) == ["on"]


def test_importing_the_core_imports_neither_aiohttp_nor_jwt() -> None:
    code = "import sys, bulkhooks.sandbox; sys.exit(bool({'aiohttp', 'jwt'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "more",
    [
        {"refuse": ["nobody"]},
        {"buckets": {"nobody": None}},
        {"lifecycles": {"nobody": "gone"}},
        {"scopes": {"nobody": []}},
        {"public_keys": {"nobody": "PEM"}},
    ],
)
def test_options_for_a_tenant_that_is_not_there_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="nobody"):
        Sandbox(["acme"], **more)


# Lists


def test_a_list_leaves_out_scripts_even_when_asked_for_them() -> None:
    sandbox = Sandbox(["acme"])

    assert {tuple(sorted(hook)) for hook in json(ask(sandbox))} == {
        ("dependencies", "enabled", "id", "name", "triggerId")
    }
    assert json(ask(sandbox, query="fields=id,script"))[0].keys() == {"id"}


def test_a_list_is_whole_unless_paging_is_asked_for() -> None:
    assert len(json(ask(Sandbox(["acme"], hooks=120)))) == 120


def test_pages_hold_every_hook_once_and_end_with_an_empty_one() -> None:
    sandbox = Sandbox(["acme"], hooks=7)
    query = "page={}&per_page=3&include_totals=true"
    pages = [json(ask(sandbox, query=query.format(number))) for number in range(4)]

    assert [len(page["hooks"]) for page in pages] == [3, 3, 1, 0]
    assert [hook["id"] for page in pages for hook in page["hooks"]] == [
        hook["id"] for hook in sandbox.hooks_of("acme")
    ]
    assert [(page["start"], page["limit"], page["total"]) for page in pages] == [
        (0, 3, 7),
        (3, 3, 7),
        (6, 3, 7),
        (9, 3, 7),
    ]


def test_a_list_is_filtered_by_trigger_and_by_enabled() -> None:
    sandbox = Sandbox(["acme"])

    assert len(json(ask(sandbox, query="triggerId=send-phone-message"))) == 5
    assert len(json(ask(sandbox, query="enabled=true"))) == 5
    assert len(json(ask(sandbox, query="enabled=false&triggerId=send-phone-message"))) == 4


@pytest.mark.parametrize(
    "query",
    [
        "per_page=101",
        "per_page=many",
        "page=-1",
        "include_totals=yes",
        "enabled=1",
        "triggerId=pre-login",
        "fields=id,secrets",
        "sort=name",
    ],
)
def test_a_bad_query_is_refused(query: str) -> None:
    answer = ask(Sandbox(["acme"]), query=query)

    assert (answer.status, json(answer)["errorCode"]) == (400, "invalid_query_string")


# One hook


def test_one_hook_has_its_script_and_honours_fields() -> None:
    sandbox = two_hooks()
    path = hook_path(sandbox, "on")

    assert json(ask(sandbox, "GET", path)) == sandbox.hooks_of("acme")[0]
    assert json(ask(sandbox, "GET", path, query="fields=name,script")).keys() == {"name", "script"}


def test_a_patch_changes_the_fields_it_carries_and_no_other() -> None:
    sandbox = two_hooks()
    before = sandbox.hooks_of("acme")[0]
    answer = ask(sandbox, "PATCH", hook_path(sandbox, "on"), {"enabled": False})

    assert answer.status == 200
    assert json(answer) == sandbox.hooks_of("acme")[0] == before | {"enabled": False}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        {},
        {"enabled": "true"},
        {"enabled": 1},
        {"name": "-x"},
        {"name": "x\n"},
        {"script": ""},
        {"dependencies": {"axios": 1}},
        {"enabled": False, "id": "x"},
    ],
    ids=str,
)
def test_a_bad_patch_is_refused_and_changes_nothing(body: object) -> None:
    sandbox = two_hooks()
    before = sandbox.hooks_of("acme")
    answer = ask(sandbox, "PATCH", hook_path(sandbox, "on"), body)

    assert (answer.status, json(answer)["errorCode"]) == (400, "invalid_body")
    assert sandbox.hooks_of("acme") == before
    assert sandbox.writes() == []


def test_a_patch_with_an_unknown_key_names_it_as_auth0_does() -> None:
    sandbox = two_hooks()
    answer = ask(sandbox, "PATCH", hook_path(sandbox, "on"), {"triggerId": "send-phone-message"})

    assert json(answer) == {
        "statusCode": 400,
        "error": "Bad Request",
        "message": "Payload validation error: 'Additional properties not allowed: triggerId'",
        "errorCode": "invalid_body",
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"enabled": True}),
        ("DELETE", "", None),
        ("GET", "/secrets", None),
        ("POST", "/secrets", {"A": "1"}),
        ("PATCH", "/secrets", {"A": "1"}),
        ("DELETE", "/secrets", ["A"]),
    ],
)
def test_a_hook_that_is_not_there_gets_404(method: str, path: str, body: object) -> None:
    answer = ask(two_hooks(), method, f"/api/v2/hooks/NOTTHERE{path}", body)

    assert (answer.status, json(answer)["errorCode"]) == (404, "inexistent_hook")


def test_a_name_that_is_taken_gets_409_from_create_and_patch() -> None:
    sandbox = two_hooks()
    new = {"name": "on", "script": "x", "triggerId": "credentials-exchange"}

    assert ask(sandbox, "POST", "/api/v2/hooks", new).status == 409
    assert ask(sandbox, "PATCH", hook_path(sandbox, "off"), {"name": "on"}).status == 409
    assert ask(sandbox, "PATCH", hook_path(sandbox, "on"), {"name": "on"}).status == 200


def test_a_deleted_hook_is_gone_with_its_secrets() -> None:
    sandbox = two_hooks()
    path = hook_path(sandbox, "on")
    ask(sandbox, "POST", f"{path}/secrets", {"A": "1"})
    answer = ask(sandbox, "DELETE", path)

    assert (answer.status, answer.body) == (204, b"")
    assert [hook["name"] for hook in sandbox.hooks_of("acme")] == ["off"]
    assert ask(sandbox, "DELETE", path).status == 404

    id = path.rpartition("/")[2]
    sandbox.add_hook("acme", id=id, name="again", triggerId="send-phone-message")
    assert json(ask(sandbox, "GET", f"{path}/secrets")) == {}


def test_the_first_hook_created_of_a_trigger_is_enabled_and_the_next_is_not() -> None:
    sandbox = Sandbox(["acme"], hooks=0)
    for name in ("one", "two"):
        new = {"name": name, "script": "x", "triggerId": "credentials-exchange"}
        assert ask(sandbox, "POST", "/api/v2/hooks", new).status == 201

    assert enabled(sandbox) == ["one"]
    assert sandbox.hooks_of("acme")[0]["dependencies"] == {}


@pytest.mark.parametrize("missing", ["name", "script", "triggerId"])
def test_a_create_needs_name_script_and_trigger(missing: str) -> None:
    new = {"name": "one", "script": "x", "triggerId": "credentials-exchange"}
    del new[missing]

    assert ask(Sandbox(["acme"]), "POST", "/api/v2/hooks", new).status == 400


# One enabled hook a trigger


@pytest.mark.parametrize(
    ("rule", "status", "left"),
    [("conflict", 409, ["on"]), ("bad_request", 400, ["on"]), ("switch", 200, ["off"])],
)
def test_enabling_a_second_hook_of_a_trigger(
    rule: SecondEnable, status: int, left: list[str]
) -> None:
    sandbox = two_hooks(rule)
    answer = ask(sandbox, "PATCH", hook_path(sandbox, "off"), {"enabled": True})

    assert (answer.status, enabled(sandbox)) == (status, left)


@pytest.mark.parametrize(("rule", "status"), [("conflict", 409), ("switch", 201)])
def test_creating_a_second_hook_enabled_falls_under_the_same_rule(
    rule: SecondEnable, status: int
) -> None:
    sandbox = two_hooks(rule)
    new = {"name": "new", "script": "x", "triggerId": "send-phone-message", "enabled": True}

    assert ask(sandbox, "POST", "/api/v2/hooks", new).status == status
    assert enabled(sandbox) == (["on"] if status == 409 else ["new"])


def test_enabling_the_hook_that_is_enabled_is_fine() -> None:
    sandbox = two_hooks()

    assert ask(sandbox, "PATCH", hook_path(sandbox, "on"), {"enabled": True}).status == 200


# Secrets


def test_secrets_are_added_changed_and_taken_away_by_name_and_never_shown() -> None:
    sandbox = two_hooks()
    path = hook_path(sandbox, "on") + "/secrets"

    assert ask(sandbox, "POST", path, {"A": "1", "B": "2"}).status == 201
    assert ask(sandbox, "PATCH", path, {"A": "3"}).status == 201
    assert ask(sandbox, "DELETE", path, ["B"]).status == 204
    assert json(ask(sandbox, "GET", path)) == {"A": MASK}


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("POST", {"NEW": "1", "OLD": "1"}, 409),
        ("PATCH", {"OLD": "1", "NEW": "1"}, 404),
        ("DELETE", ["OLD", "NEW"], 404),
        ("POST", {}, 400),
        ("POST", {"NEW": 1}, 400),
        ("DELETE", [], 400),
        ("DELETE", {"OLD": "1"}, 400),
        ("POST", {f"S{n}": "1" for n in range(20)}, 400),
    ],
)
def test_a_bad_secrets_call_changes_no_secret(method: str, body: object, status: int) -> None:
    sandbox = two_hooks()
    path = hook_path(sandbox, "on") + "/secrets"
    ask(sandbox, "POST", path, {"OLD": "1"})

    assert ask(sandbox, method, path, body).status == status
    assert json(ask(sandbox, "GET", path)) == {"OLD": MASK}


# Lifecycles


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("PATCH", {"enabled": False}, 200),
        ("PATCH", {"name": "other"}, 403),
        ("PATCH", {"script": "module.exports = 1;"}, 403),
        ("PATCH", {"dependencies": {}}, 403),
        ("PATCH", {"enabled": False, "name": "other"}, 403),
        ("GET", None, 200),
        ("DELETE", None, 204),
    ],
)
def test_of_a_read_only_hook_only_enabled_may_change(
    method: str, body: object, status: int
) -> None:
    sandbox = Sandbox(["acme"], lifecycle="read-only")
    before = sandbox.hooks_of("acme")
    answer = ask(sandbox, method, hook_path(sandbox, "fraud-check"), body)

    assert answer.status == status
    if status == 403:
        said = "Insufficient privileges to use this deprecated feature"
        assert json(answer)["message"] == said
        assert sandbox.hooks_of("acme") == before


def test_read_only_hooks_are_listed_and_keep_secrets_and_no_new_one_comes() -> None:
    sandbox = Sandbox(["acme"], lifecycle="read-only")
    path = hook_path(sandbox, "fraud-check") + "/secrets"
    new = {"name": "new", "script": "x", "triggerId": "send-phone-message"}

    assert ask(sandbox, "POST", body=new).status == 403
    assert len(json(ask(sandbox))) == 25
    assert ask(sandbox, "POST", path, {"KEY": "1"}).status == 201
    assert ask(sandbox, "PATCH", path, {"KEY": "2"}).status == 201
    assert ask(sandbox, "DELETE", path, ["KEY"]).status == 204


@pytest.mark.parametrize("gone", get_args(Gone))
def test_where_hooks_are_gone_every_call_is_refused(gone: Gone) -> None:
    sandbox = Sandbox(["acme"], lifecycle="gone", gone=gone)
    path = hook_path(sandbox, "fraud-check")
    calls = [
        *(("GET", "/api/v2/hooks"), ("POST", "/api/v2/hooks")),
        *((method, path) for method in ("GET", "PATCH", "DELETE")),
        *((method, f"{path}/secrets") for method in ("GET", "POST", "PATCH", "DELETE")),
    ]
    answers = [ask(sandbox, method, path, {"enabled": False}) for method, path in calls]

    assert {answer.status for answer in answers} == {gone}
    said = "This endpoint is disabled for your tenant."
    assert {json(answer)["message"] == said for answer in answers} == {gone == 403}
    assert len(sandbox.hooks_of("acme")) == 25
    assert ask(sandbox, "POST", "/oauth/token", CREDENTIALS).status == 200


def test_a_tenant_may_have_a_lifecycle_of_its_own() -> None:
    sandbox = Sandbox(["a", "b"], lifecycle="gone", lifecycles={"b": "active"})

    assert [ask(sandbox, tenant=tenant).status for tenant in "ab"] == [403, 200]


# Tokens and paths


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer x"}, {"authorization": "x"}])
def test_a_call_without_a_good_token_gets_401(headers: dict[str, str]) -> None:
    answer = ask(Sandbox(["acme"]), headers=headers)

    assert (answer.status, json(answer)["errorCode"]) == (401, "invalid_token")


def test_a_refused_tenant_gives_no_token_and_takes_none() -> None:
    sandbox = Sandbox(["acme", "good"], refuse=["acme"])
    answer = ask(sandbox, "POST", "/oauth/token", CREDENTIALS)

    assert (answer.status, json(answer)["error"]) == (401, "access_denied")
    assert ask(sandbox).status == 401
    assert ask(sandbox, tenant="good").status == 200


@pytest.mark.parametrize(
    ("method", "path", "tenant", "status"),
    [
        ("GET", "/api/v2/hooks", "nobody", 404),
        ("GET", "/api/v2/clients", "acme", 404),
        ("GET", "/api/v2/hooks/X/secrets/Y", "acme", 404),
        ("PUT", "/api/v2/hooks/X", "acme", 405),
        ("GET", "/oauth/token", "acme", 405),
        ("GET", "/api/v2/hooks/a%20b", "acme", 400),
    ],
)
def test_a_path_that_is_not_there(method: str, path: str, tenant: str, status: int) -> None:
    answer = ask(Sandbox(["acme"]), method, path, tenant=tenant)

    assert (answer.status, json(answer)["statusCode"]) == (status, status)


# The bucket


def test_a_request_takes_a_token_and_none_left_is_429_with_nothing_done() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=2, rate=2))
    path = hook_path(sandbox, "fraud-check")

    assert [rate(ask(sandbox))[:3] for _ in range(2)] == [(200, 2, 1), (200, 2, 0)]
    refused = ask(sandbox, "PATCH", path, {"enabled": False})
    assert rate(refused) == (429, 2, 0, 1)
    assert json(refused)["errorCode"] == "too_many_requests"
    assert sandbox.writes() == []
    assert "fraud-check" in enabled(sandbox)


def test_a_drip_bucket_has_a_token_as_soon_as_one_has_dripped_in() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=1, rate=2))
    ask(sandbox)

    assert [ask(sandbox, at=at).status for at in (0.49, 0.5, 0.99, 1.0)] == [429, 200, 429, 200]


def test_a_window_bucket_is_filled_at_the_servers_full_seconds() -> None:
    bucket = Bucket(burst=10, rate=3, refill="window")
    sandbox = Sandbox(["acme"], bucket=bucket, clock_ahead=0.25)
    for _ in range(10):
        assert ask(sandbox, at=0.1).status == 200

    assert [ask(sandbox, at=at).status for at in (0.2, 0.7, 0.75, 0.8, 0.9, 1.0)] == (
        [429, 429, 200, 200, 200, 429]
    )


def test_a_window_of_a_minute_resets_at_the_next_minute() -> None:
    bucket = Bucket(burst=10, rate=10, per=60, refill="window")

    assert rate(ask(Sandbox(["acme"], bucket=bucket), at=12.5)) == (200, 10, 9, 60)


def test_reset_is_the_next_token_not_the_full_bucket_rounded_up_to_a_second() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=10, rate=1, per=4))

    assert rate(ask(sandbox, at=0.5)) == (200, 10, 9, 5)
    assert rate(ask(sandbox, at=2.5)) == (200, 10, 8, 5)
    assert rate(ask(sandbox, at=4.5)) == (200, 10, 8, 9)


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    sandbox = Sandbox(["acme"], bucket=BUCKETS["nonprod"])
    ask(sandbox)

    assert rate(ask(sandbox, at=3600))[:3] == (200, 10, 9)


def test_a_clock_that_steps_back_neither_adds_tokens_nor_takes_any() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=2, rate=1))
    ask(sandbox)

    assert [ask(sandbox, at=at).status for at in (-5, 0.5, 1.0)] == [200, 429, 200]


def test_over_a_long_time_no_more_goes_through_than_burst_and_rate_allow() -> None:
    sandbox = Sandbox(["acme"], bucket=BUCKETS["prod"], keep_log=False)
    served = sum(ask(sandbox, at=n / 50).status == 200 for n in range(5001))

    assert served == 50 + 16 * 100


def test_every_tenant_has_its_own_bucket() -> None:
    sandbox = Sandbox(["acme", "b"], bucket=Bucket(burst=1, rate=1), buckets={"b": None})
    ask(sandbox)

    assert ask(sandbox).status == 429
    assert rate(ask(sandbox, tenant="b")) == (200, 1_000_000, 999_999, 1)


@pytest.mark.parametrize("path", ["/api/v2/hooks", "/api/v2/nothing"])
def test_refused_requests_take_a_token_and_carry_the_headers_too(path: str) -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=5, rate=1))

    assert rate(ask(sandbox, "GET", path, headers={})) == (401, 5, 4, 1)
    assert ask(sandbox, "GET", path).headers["x-ratelimit-remaining"] == "3"


def test_a_token_request_takes_nothing_from_the_bucket() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=1, rate=1))

    assert ask(sandbox, "POST", "/oauth/token", CREDENTIALS).status == 200
    assert ask(sandbox).status == 200


def test_without_rate_headers_a_429_says_when_to_come_back() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=1, rate=1, per=5), rate_headers=False)
    answers = [ask(sandbox), ask(sandbox)]

    assert not any(name.startswith("x-") for answer in answers for name in answer.headers)
    assert [answer.headers.get("Retry-After") for answer in answers] == [None, "5"]


def test_date_and_reset_follow_the_servers_clock() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=1, rate=1), clock_ahead=100)
    answer = ask(sandbox, at=0.5)

    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == NOW + 100
    assert answer.headers["Date"].endswith(" GMT")
    assert rate(answer)[3] == 102
    assert sandbox.log[0].at == NOW + 100.5


def test_the_neighbour_takes_its_tokens_evenly_from_the_first_request_on() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=10, rate=1), neighbour=4)
    ask(sandbox)

    assert rate(ask(sandbox, at=1.0))[:3] == (200, 10, 5)  # 9, 1 more, 4 to the neighbour, 1 to us
    assert sandbox.statistics()["acme"].neighbour_served == 4


def test_a_neighbour_that_finds_no_token_is_counted() -> None:
    sandbox = Sandbox(["acme"], bucket=Bucket(burst=2, rate=1), neighbour=10)
    ask(sandbox)
    answer = ask(sandbox, at=1.05)
    counts = sandbox.statistics()["acme"]

    assert answer.status == 429
    assert (counts.neighbour_served, counts.neighbour_refused) == (2, 8)
    assert (counts.requests, counts.throttled) == (2, 1)


def logins(sandbox: Sandbox, until: float) -> tuple[int, int]:
    """How many logins were served and refused until so long after NOW."""
    counts = sandbox.statistics(NOW + until)["acme"]
    return counts.neighbour_served, counts.neighbour_refused


def test_logins_come_whether_we_are_there_or_not() -> None:
    neighbour = Logins(seed=1, rate=3, burst=4, begin=NOW)
    asked, alone, other = (
        Sandbox(names, bucket=Bucket(burst=10, rate=4), neighbour=neighbour)
        for names in (["acme"], ["acme"], ["acme", "b"])
    )
    for second in range(60):
        ask(asked, at=second)

    (served, refused), (got, missed) = logins(asked, 100), logins(alone, 100)
    assert served + refused == got + missed == pytest.approx(300, rel=0.2)
    assert refused > missed
    assert alone.statistics()["acme"] == other.statistics(NOW + 100)["acme"]
    assert alone.statistics()["acme"] != other.statistics()["b"]


def test_logins_are_counted_up_to_any_moment_and_none_twice() -> None:
    neighbour = Logins(seed=1, rate=3, burst=4, begin=NOW + 5)
    sandbox = Sandbox(["acme"], neighbour=neighbour, clock_ahead=2)

    assert logins(sandbox, 3) == (0, 0)
    counts = [sum(logins(sandbox, at)) for at in (50, 50, 20, 100)]
    assert 0 < counts[0] == counts[1] == counts[2] < counts[3]


def test_logins_without_a_begin_wait_for_our_first_request() -> None:
    sandbox = Sandbox(["acme"], neighbour=Logins(seed=1, rate=3))

    assert logins(sandbox, 50) == (0, 0)
    ask(sandbox, at=50)
    assert logins(sandbox, 50) == (0, 0)
    assert logins(sandbox, 100)[0] > 0


@pytest.mark.parametrize(
    ("bucket", "span"),
    [
        (Bucket(burst=9, rate=9), 1.0),
        (Bucket(burst=9, rate=1, per=7), 7.0),
        (Bucket(burst=9, rate=9, per=3, refill="window"), None),
    ],
)
def test_bounded_logins_take_so_many_between_two_refills(
    bucket: Bucket, span: float | None
) -> None:
    """In any stretch of `span` seconds; None: from one top of a window of 3 s to the next."""
    moments = Logins(seed=1, rate=20, burst=5, most=3).moments("acme", NOW, bucket)
    came = [next(moments) for _ in range(300)]

    assert came == sorted(came)
    if span is None:
        assert set(Counter(at // 3 for at in came).values()) <= {1, 2, 3}
    else:
        fourth = zip(came, came[3:], strict=False)
        assert min(after - before for before, after in fourth) > span


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"rate": 1, "burst": 0}, {"rate": 1, "most": 0}])
def test_logins_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="logins"):
        Logins(seed=1, **wrong)


# The log


def test_the_log_has_every_request_and_writes_only_the_writes_that_were_done() -> None:
    sandbox = two_hooks()
    path = hook_path(sandbox, "on")
    ask(sandbox)
    ask(sandbox, "POST", "/oauth/token", CREDENTIALS)
    ask(sandbox, "PATCH", path, {"enabled": "no"})
    ask(sandbox, "PATCH", path, {"enabled": False})

    assert [(seen.method, seen.status) for seen in sandbox.log] == [
        ("GET", 200),
        ("POST", 200),
        ("PATCH", 400),
        ("PATCH", 200),
    ]
    assert [(seen.path, seen.body) for seen in sandbox.writes()] == [(path, b'{"enabled":false}')]


def test_the_log_can_be_switched_off() -> None:
    sandbox = Sandbox(["acme"], keep_log=False)
    ask(sandbox)

    assert sandbox.log == []
    assert sandbox.statistics()["acme"].requests == 1


# Over sockets


async def test_over_a_socket_a_call_is_answered_as_by_the_core() -> None:
    sandbox = Sandbox(["acme"], bucket=BUCKETS["prod"], clock_ahead=-3600)
    path = hook_path(sandbox, "fraud-check")
    async with serve(sandbox) as url, aiohttp.ClientSession(headers=BEARER) as session:
        async with session.patch(f"{url}/acme{path}", json={"enabled": False}) as answer:
            assert (answer.status, await answer.json()) == (200, sandbox.hooks_of("acme")[0])
            assert answer.headers["x-ratelimit-remaining"] == "49"
            [date] = answer.headers.getall("Date")
        async with session.get(f"{url}/acme/api/v2/hooks?per_page=2&page=1") as answer:
            assert len(await answer.json()) == 2
        async with session.delete(f"{url}/acme{path}") as answer:
            assert (answer.status, await answer.read()) == (204, b"")
    assert parsedate_to_datetime(date).timestamp() == pytest.approx(time.time() - 3600, abs=5)


async def test_over_a_socket_a_token_is_issued_and_taken() -> None:
    async with serve(Sandbox(["acme"])) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/acme/oauth/token", json=CREDENTIALS) as answer:
            token = (await answer.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        async with session.get(f"{url}/acme/api/v2/hooks", headers=headers) as answer:
            assert answer.status == 200


async def test_a_body_that_is_json_is_taken_whatever_its_content_type() -> None:
    sandbox = Sandbox(["acme"])
    path = hook_path(sandbox, "fraud-check")
    headers = BEARER | {"content-type": "text/plain"}
    async with (
        serve(sandbox) as url,
        aiohttp.ClientSession(headers=headers) as session,
        session.patch(f"{url}/acme{path}", data=b'{"enabled":false}') as answer,
    ):
        assert answer.status == 200


async def test_latency_is_half_before_the_work_and_half_after() -> None:
    sandbox = Sandbox(["acme"], latency=0.1)
    async with serve(sandbox) as url, aiohttp.ClientSession(headers=BEARER) as session:
        before = time.time()
        async with session.get(f"{url}/acme/api/v2/hooks") as answer:
            assert answer.status == 200
        after = time.time()
    assert before + 0.045 <= sandbox.log[0].at <= after - 0.045


async def test_a_client_that_goes_away_early_does_not_undo_its_request() -> None:
    done = asyncio.Event()
    sandbox = Sandbox(["acme"], latency=3.0, fault=lambda request: done.set())
    timeout = aiohttp.ClientTimeout(total=0.1)
    async with serve(sandbox) as url, aiohttp.ClientSession(headers=BEARER) as session:
        with pytest.raises(TimeoutError):
            await session.get(f"{url}/acme/api/v2/hooks", timeout=timeout)
        assert sandbox.log == []
        await done.wait()
    assert [seen.status for seen in sandbox.log] == [200]


async def test_over_tls_a_call_is_answered_by_https() -> None:
    server, client = certified()
    async with (
        serve(Sandbox(["acme"]), tls=server) as url,
        aiohttp.ClientSession(headers=BEARER) as session,
        session.get(f"{url}/acme/api/v2/hooks", ssl=client) as answer,
    ):
        assert url.startswith("https://127.0.0.1:")
        assert len(await answer.json()) == 25


@pytest.mark.parametrize("secure", [False, True])
async def test_serving_ends_at_once_though_connections_are_kept_alive(secure: bool) -> None:
    server, client = certified()
    tls = server if secure else None
    async with aiohttp.ClientSession(headers=BEARER) as session:
        async with serve(Sandbox(["acme"]), tls=tls) as url:
            async with session.get(f"{url}/acme/api/v2/hooks", ssl=client) as answer:
                assert len(await answer.json()) == 25
            before = time.monotonic()
        assert time.monotonic() - before < 30
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{url}/acme/api/v2/hooks", ssl=client)
