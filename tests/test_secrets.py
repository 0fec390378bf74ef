"""Nothing secret is ever written down: not by a command, not after a fault, not by a bug.

Every kind of secret has a marker of its own, and every byte that the program leaves is searched
for pieces of it, as they are and as servers and libraries may have put them.
"""

from __future__ import annotations

import base64
import html
import json
import os
import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import ascii_letters, digits
from typing import Any
from urllib.parse import quote

import pytest
import trustme
import typer
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from bulkhooks import Limits, Tenant
from bulkhooks.answers import value
from bulkhooks.auth0 import Exchange, ManagementClient
from bulkhooks.cli import app
from bulkhooks.errors import ItemError, Refused, TenantError, Unsure
from bulkhooks.gates import Gate, Stop
from bulkhooks.hooks import create_secrets, get_hook
from bulkhooks.items import Reply
from bulkhooks.pacing import Limiter
from bulkhooks.references import MASK, Reference
from bulkhooks.sandbox import Answer, Request, Sandbox
from bulkhooks.sandbox.faults import FAULTS, Fault, Faults
from bulkhooks.secrecy import veiled, where
from bulkhooks.tenants import ClientKey, ClientSecret, Given
from bulkhooks.tokens import Grant, granted
from bulkhooks.tokens import request as request_for_token
from world import World, served

#: Letters that follow each other in a secret and in what is left of it: a piece of it.
PIECE = 16


def marker(name: str) -> str:
    """A secret of 44 characters, some of which are never left as they are."""
    chance = random.Random(name)
    letters = "".join(chance.choices(ascii_letters + digits, k=40))
    return f"{letters[:19]}/+{letters[19:38]}=%{letters[38:]}"


TOKEN, CLIENT, GATEWAY, ISSUED, ONE = map(marker, ("token", "client", "gateway", "issued", "one"))
LINES = "\n".join(marker(f"line {number}") for number in range(3))
PROXY = marker("proxy").replace("/", "_")


def forms(secret: str) -> Iterator[str]:
    """A secret as it may have been put."""
    raw = secret.encode()
    yield from (secret, quote(secret, safe=""), quote(quote(secret, safe="")), html.escape(secret))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret).replace("/", "\\/"), repr(secret))
    yield from (secret[::-1], raw.hex(), raw.hex().upper())
    for ahead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(ahead) + raw).decode()[4:-4]


def pieces(secret: str) -> set[bytes]:
    """All that may not be found: any 16 characters in a row of a secret in one of its forms."""
    every = (form for line in secret.splitlines() for form in forms(line))
    return {
        form[start : start + PIECE].encode()
        for form in every
        for start in range(len(form) - PIECE + 1)
    }


class Search:
    """Looks for secrets in what the program left."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        kind = PrivateFormat.PKCS8
        self.pem = key.private_bytes(Encoding.PEM, kind, NoEncryption()).decode()
        body = "\n".join(line for line in self.pem.splitlines() if "-" not in line)
        self._seen: set[str] = set()
        self._whose: dict[bytes, str] = {}
        secrets = {
            "static token": TOKEN,
            "client secret": CLIENT,
            "private key": body,
            "hook's secret": ONE,
            "hook's secret of many lines": LINES,
            "header": GATEWAY,
            "proxy's password": PROXY,
            "issued token": ISSUED,
        }
        for name, secret in secrets.items():
            self._whose |= dict.fromkeys(pieces(secret), name)

    def also(self, secret: str) -> None:
        """Look for this one too: a token that was issued, an assertion that was sent."""
        if secret not in self._seen:
            self._seen.add(secret)
            self._whose |= dict.fromkeys(pieces(secret), "what was seen on its way")

    def found(self, *left: tuple[str, bytes]) -> list[str]:
        """What of all secrets is in what is left, and where."""
        found = set()
        for place, data in left:
            for start in range(len(data) - PIECE + 1):
                if whose := self._whose.get(data[start : start + PIECE]):
                    found.add(f"{whose} in {place}: {data[max(0, start - 80) : start + 16]!r}")
        return sorted(found)[:5]


INPUTS = ("tenants.json", "job.json", "key.pem", "lines", "sitecustomize.py")


class Case:
    """A world whose tenants log in each in another way, and all that is secret there."""

    def __init__(self, world: World, search: Search, state: Path) -> None:
        self.world, self.search, self.state = world, search, state
        self.told: list[tuple[str, bytes]] = []
        world.env |= {"TOKEN": TOKEN, "CLIENT": CLIENT, "GATEWAY": GATEWAY, "ONE": ONE, "ID": "us"}
        (world.folder / "lines").write_text(LINES)
        (world.folder / "key.pem").write_text(search.pem)

    def tenants(self, urls: dict[str, str]) -> None:
        """Write a tenants file: each has a header, and logs in by one of three ways."""
        ways: tuple[dict[str, str], ...] = (
            {"client_id": "env:ID", "client_secret": "env:CLIENT"},
            {"client_id": "env:ID", "private_key": "file:key.pem"},
            {"token": "env:TOKEN"},
        )
        self.world.tenants = {
            name: {
                "base_url": url,
                "headers": {"X-Gateway-Key": "env:GATEWAY"},
                "timeouts": {"request": 1},
                **ways[number % (2 if name.startswith("token") else 3)],
            }
            for number, (name, url) in enumerate(urls.items())
        }
        self.world.write_tenants()

    def job(self, *edits: dict[str, Any]) -> None:
        """Write a job of these edits, which sets secrets too."""
        secrets = {"ONE": "env:ONE", "LINES": "file:lines"}
        setting = {"tenants": "*", "hooks": {"name": "b"}, "set_secrets": secrets}
        every = [*edits, setting | {"allow_empty": True}]
        self.world.write("job.json", {"name": "job", "edits": every})

    def call(self, *words: str, **env: str) -> tuple[int, str]:
        """The program's exit status, and what it said on both streams."""
        before = dict(self.world.env)
        self.world.env |= env
        with self.world.start(*words) as process:
            out, err = process.communicate()
        self.world.env = before
        self.told.append((" ".join(words), f"{out}\n{err}".encode()))
        return process.returncode, out + err

    def assert_silent(self) -> None:
        """Nothing secret is in what was said, nor in any file but those that have it; and what
        was written is its owner's alone."""
        folders = (self.world.folder, self.state)
        left = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        made = [path for path in left if path.name not in INPUTS]
        assert made
        assert [path for path in made if path.stat().st_mode & 0o077] == []
        files = [(path.name, path.read_bytes()) for path in made]
        assert self.search.found(*self.told, *files) == []


@pytest.fixture(scope="module")
def search() -> Search:
    return Search()


# ---- a server that says again what it was told

STYLES: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "page": lambda said: f"<html><p>{html.escape(said)}</p></html>".encode(),
    "latePage": lambda said: f"{said} {'x' * 300}<html>".encode(),
    "message": lambda said: json.dumps({"message": said}).encode(),
    "error": lambda said: json.dumps({"error": said}).encode(),
    "errorCode": lambda said: json.dumps({"errorCode": said}).encode(),
    "description": lambda said: json.dumps({"error": "no", "error_description": said}).encode(),
    "deep": lambda said: json.dumps({"message": {"said": said}}).encode(),
    "twice": lambda said: json.dumps({"message": json.dumps({"said": said})}).encode(),
    "percent": lambda said: json.dumps({"message": quote(said)}).encode(),
    "base64": lambda said: json.dumps({"message": _packed(said)}).encode(),
    "inBase64": lambda said: json.dumps({"message": _packed(" " + said)}).encode(),
    "broken": lambda said: json.dumps({"message": re.sub("(.{9})", "\\1\r\n ", said)}).encode(),
    "piece": lambda said: json.dumps({"message": f"no {said[9:36]}... known"}).encode(),
    "backwards": lambda said: json.dumps({"message": said[::-1][-199:]}).encode(),
    "entities": lambda said: html.escape(said).encode(),
}


def _packed(said: str) -> str:
    return base64.b64encode(said.encode()).decode()


HOOKS = [
    {"id": id, "name": id.lower(), "triggerId": "pre-user-registration", "enabled": id == "A"}
    for id in "AB"
]


class Echo(BaseHTTPRequestHandler):
    """A tenant named WHAT-STYLE-STATUS answers WHAT it is asked by what was sent."""

    protocol_version = "HTTP/1.1"
    search: Search
    done: set[str]  #: tenants on which a hook was written

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _answer(self) -> None:
        _, tenant, path = self.path.split("/", 2)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        what, style, status = tenant.split("-")
        sent = json.loads(body) if body else {}
        if path == "oauth/token" and "client_assertion" in sent:
            self.search.also(sent["client_assertion"])
        heads = (self.headers.get(name, "") for name in ("Authorization", "X-Gateway-Key"))
        if self.command == "PATCH" and "/secrets" not in path:
            self.done.add(tenant)
        values = (str(value) for value in (sent.values() if isinstance(sent, dict) else ()))
        said = " ".join(filter(None, (*heads, *sorted(values, key=len, reverse=True))))
        if what != self._what(path):
            self._send(200, json.dumps(self._usual(tenant, path)).encode())
        elif style == "hook":
            more = {"authorization": said}
            self._send(200, json.dumps(self._usual(tenant, path) | more).encode())
        elif style == "raw":
            self.wfile.write(said.encode())
            self.close_connection = True
        else:
            self._send(int(status), STYLES[style](said), said)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def _what(self, path: str) -> str:
        if path == "oauth/token":
            return "token"
        return "secrets" if "/secrets" in path else "read" if self.command == "GET" else "write"

    def _usual(self, tenant: str, path: str) -> dict[str, Any]:
        if path == "oauth/token":
            return {"access_token": ISSUED, "expires_in": 86400}
        if "/secrets" in path:
            return {"ONE": MASK, "LINES": MASK}
        if path.startswith("api/v2/hooks?"):
            on = tenant not in self.done
            return {"hooks": [HOOKS[0] | {"enabled": on}, HOOKS[1]], "total": 2}
        return HOOKS[0] | {"script": "x", "enabled": False}

    def _send(self, status: int, body: bytes, said: str = "") -> None:
        self.send_response(status, said.splitlines()[0] if said else None)
        self.send_header("Content-Length", str(len(body)))
        if said:
            self.send_header("Set-Cookie", f"{quote(said)}/;=1")
            self.send_header("Location", f"https://other.example/{quote(said)}")
            self.send_header("X-RateLimit-Limit", quote(said))
            self.send_header("Retry-After", quote(said))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def echoing(search: Search) -> Iterator[str]:
    """The server, on loopback."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 512

    kind = type("Overhearing", (Echo,), {"search": search, "done": set()})
    with Server(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def echo_names(statuses: tuple[int, ...], *, all_of_them: bool = False) -> list[str]:
    """Tenants for every place and style, each with the next status, or with every one."""
    names = []
    for what in ("token", "read", "write", "secrets"):
        for number, style in enumerate(STYLES):
            each = statuses if all_of_them else [statuses[number % len(statuses)]]
            names += [f"{what}-{style}-{status}" for status in each]
        names.append(f"{what}-hook-200")
    return names


@pytest.fixture
def case(tmp_path: Path, search: Search, state_folder: Path) -> Case:
    """A folder with secrets, in which `tenants` has to be called."""
    folder = tmp_path / "world"
    folder.mkdir()
    return Case(World(folder, Sandbox(["t0"]), "http://127.0.0.1:1", []), search, state_folder)


OFF = {"tenants": "*", "hooks": {"name": "a"}, "set": {"enabled": False}, "allow_empty": True}


def test_what_a_server_says_again_of_a_request_is_not_kept(case: Case) -> None:
    names = echo_names((400, 401, 403))
    with echoing(case.search) as url:
        case.tenants({name: f"{url}/{name}" for name in names})
        case.job(OFF)
        status, told = case.call("run", "job.json", "--tenants", "tenants.json", "--yes")
        assert status == 1, told
        case.call("status", "job.journal", "--json")
    # It was heard: answers were shown, without what they said again.
    assert "***" in case.told[-1][1].decode()
    case.assert_silent()


@pytest.mark.hunt
@pytest.mark.timeout(900)
@pytest.mark.parametrize("env", [{}, {"PYTHONDEVMODE": "1"}], ids=["plain", "dev"])
def test_what_a_server_says_again_with_any_status_is_not_kept(
    case: Case, env: dict[str, str]
) -> None:
    names = echo_names((200, 302, 400, 401, 403, 404, 409), all_of_them=True)
    for what in ("token", "read"):
        names += [f"{what}-raw-200", f"{what}-plain-500", f"{what}-message-503"]
    with echoing(case.search) as url:
        case.tenants({name: f"{url}/{name}" for name in names})
        case.job(OFF)
        case.call("run", "job.json", "--tenants", "tenants.json", "--yes", **env)
        case.call("status", "job.journal", "--json", **env)
        case.call("export", "--to", "out", "--tenants", "tenants.json", **env)
        case.call("job-from", "job.journal", "--tenants", "tenants.json", **env)
    case.assert_silent()


# ---- every command


class Overheard(Sandbox):
    """Pretend tenants that tell a search which tokens and assertions they were sent."""

    search: Search

    def handle(self, request: Request, now: float) -> Answer:
        """As the sandbox does."""
        self.search.also(request.headers.get("authorization", "").removeprefix("Bearer "))
        if request.path == "/oauth/token":
            self.search.also(json.loads(request.body).get("client_assertion", ""))
        return super().handle(request, now)


def overheard(search: Search, **more: Any) -> Overheard:
    sandbox = Overheard(("t0", "t1", "t2"), hooks=0, tokens=(TOKEN,), **more)
    sandbox.search = search
    for name in ("t0", "t1", "t2"):
        for hook in HOOKS:
            sandbox.add_hook(name, **hook)  # type: ignore[arg-type]
    return sandbox


COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TENANTS = ("--tenants", "tenants.json")
HOOK = Path(__file__).parent / "golden" / "post-user-registration" / "slack" / "hook.js"
EVERY: tuple[tuple[str, ...], ...] = (
    ("validate", "job.json", *TENANTS),
    ("validate", "job.json", *TENANTS, "--json"),
    ("plan", "job.json", *TENANTS),
    ("plan", "job.json", *TENANTS, "--json"),
    ("plan", "job.json", *TENANTS, "--markdown"),
    ("apply", "job.journal", "--yes"),
    ("run", "job.json", *TENANTS, "--yes", "--fresh"),
    ("run", "job.json", *TENANTS, "--sandbox"),
    ("status", "job.journal"),
    ("status", "job.journal", "--json"),
    ("control", "job.journal", "status"),
    ("report", "job.journal", "--json"),
    ("report", "job.journal", "--csv"),
    ("report", "job.journal", "--markdown"),
    ("report", "job.journal", "--html", "report.html"),
    ("export", "--to", "out", *TENANTS),
    ("export", "--to", "out-yaml", *TENANTS, "--yaml"),
    ("job-from", "out", *TENANTS),
    ("job-from", "job.journal", "--to", "left.yaml"),
    ("undo", "job.journal", "--yes"),
    ("check", *TENANTS),
    ("check", *TENANTS, "--json"),
    ("schema", "job"),
    ("migrate", "assess", *TENANTS),
    ("migrate", "assess", *TENANTS, "--json", "--html", "assess.html", "--log", "assess.log"),
    ("migrate", "convert", str(HOOK), "--trigger", "post-user-registration"),
    ("migrate", "plan", *TENANTS),
)


def logged(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command with a log, if it keeps one."""
    command = COMMANDS[words[0]]
    command = getattr(command, "commands", {}).get(words[1], command)
    options = {name for each in command.params for name in each.opts}
    return (*words, "--log", f"{words[0]}.log") if "--log" in options else words


def test_every_command_is_gone_through() -> None:
    assert COMMANDS.keys() <= {words[0] for words in EVERY} | {"sandbox"}


def go_through(case: Case, **env: str) -> dict[str, int]:
    """The exit status of every command that there is."""
    here = [words for words in EVERY if words[0] in COMMANDS]
    statuses = {" ".join(words): case.call(*logged(words), **env)[0] for words in here}
    with case.world.start("sandbox", "--port", "0", *TENANTS) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    case.told.append(("sandbox", f"{line}{out}{err}".encode()))
    return statuses


def test_no_command_shows_or_keeps_a_secret(case: Case) -> None:
    with served(overheard(case.search)) as url:
        case.tenants({name: f"{url}/{name}" for name in ("t0", "t1", "t2")})
        case.job(OFF)
        statuses = go_through(case)
        assert (
            statuses.pop("undo job.journal --yes") == 1
        )  # a secret's value cannot be brought back
        assert statuses.pop("control job.journal status") == 2  # nothing runs any more
        assert set(statuses.values()) == {0}
    case.assert_silent()


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONVERBOSE"])
def test_no_command_does_so_where_python_says_more(case: Case, variable: str) -> None:
    with served(overheard(case.search)) as url:
        case.tenants({name: f"{url}/{name}" for name in ("t0", "t1", "t2")})
        case.job(OFF)
        go_through(case, **{variable: "1"})
    case.assert_silent()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2))
def test_no_fault_makes_it_show_or_keep_a_secret(case: Case, seed: int) -> None:
    # A storm's 21 answers of 429 take minutes of waiting, and say nothing of what was sent.
    rates: dict[Fault, float] = {kind: 0.02 for kind in FAULTS if kind != "storm"}
    with served(overheard(case.search, fault=Faults(seed, rates))) as url:
        case.tenants({name: f"{url}/{name}" for name in ("t0", "t1", "t2")})
        case.job(OFF)
        for words in EVERY:
            if words[0] in COMMANDS.keys() & {"plan", "apply", "check", "export", "undo"}:
                case.call(*logged(words), PYTHONDEVMODE="1")
    case.assert_silent()


# ---- what else goes wrong


def test_no_credential_that_does_not_fit_is_shown(case: Case) -> None:
    with served(overheard(case.search, refuse=("t0", "t1", "t2"))) as url:
        case.tenants({name: f"{url}/{name}" for name in ("t0", "t1", "t2")})
        case.world.tenants["key"] = case.world.tenants["t1"] | {"base_url": f"{url}/key"}
        case.world.tenants["key"]["private_key"] = "file:lines"
        case.world.tenants["two"] = case.world.tenants["t2"] | {"base_url": f"{url}/two"}
        case.world.tenants["two"]["token"] = "file:lines"
        case.world.write_tenants()
        case.job(OFF)
        assert case.call("run", "job.json", *TENANTS, "--yes")[0] == 1
    case.assert_silent()


def test_a_damaged_journal_is_told_without_what_it_was_for(case: Case) -> None:
    with served(overheard(case.search)) as url:
        case.tenants({name: f"{url}/{name}" for name in ("t0", "t1", "t2")})
        case.job(OFF)
        assert case.call("plan", "job.json", *TENANTS)[0] == 0
        journal = case.world.folder / "job.journal"
        whole = journal.read_bytes()
        for at in range(4096, len(whole), len(whole) // 3):
            journal.write_bytes(whole[:at] + bytes(64) + whole[at + 64 :])
            case.call("apply", "job.journal", "--yes")
        journal.write_bytes(whole[: len(whole) // 2])
        assert case.call("apply", "job.journal", "--yes")[0] == 4
    case.assert_silent()


@pytest.mark.slow
def test_no_tenant_that_cannot_be_reached_makes_it_show_one(case: Case) -> None:
    with echoing(case.search) as url:
        place = url.replace("http:", "https:")
        case.tenants({"t0": "http://127.0.0.1:1/x", "t1": "http://127.0.0.1:1/y", "t2": place})
        case.job(OFF)
        assert case.call("run", "job.json", *TENANTS, "--yes", PYTHONDEVMODE="1")[0] == 1
    case.assert_silent()


@pytest.mark.slow
def test_a_proxys_password_is_not_shown(case: Case, tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    case.tenants({"far": "https://far.invalid"})
    case.world.tenants["far"] |= {"token": "env:TOKEN", "ca_file": str(tmp_path / "ca.pem")}
    for key in ("client_id", "client_secret"):
        del case.world.tenants["far"][key]
    case.world.write_tenants()
    case.job(OFF)
    with echoing(case.search) as url:
        place = url.removeprefix("http://")
        for scheme in ("http", "https"):
            proxy = f"{scheme}://us:{quote(PROXY)}@{place}"
            env = {"HTTPS_PROXY": proxy, "PYTHONDEVMODE": "1", "NO_PROXY": ""}
            words = ("run", "job.json", *TENANTS, "--yes", "--fresh")
            assert case.call(*words, **env)[0] == 1
    case.assert_silent()


@pytest.mark.slow
def test_a_killed_run_leaves_no_secret_in_its_log(case: Case) -> None:
    sandbox = overheard(case.search, fault=lambda request: _hang(request))
    with served(sandbox) as url:
        case.tenants({name: f"{url}/{name}" for name in ("t0", "t1", "t2")})
        case.job(OFF)
        with case.world.start("run", "job.json", *TENANTS, "--yes") as process:
            case.world.wait_for(lambda: len(sandbox.writes()) >= 3)
            process.kill()
            process.communicate()
    assert (case.world.folder / "job.journal-wal").stat().st_size
    case.assert_silent()


def _hang(request: Any) -> Fault | None:
    return "hang" if request.method in ("PATCH", "DELETE") else None


# ---- bugs

#: What a bug may do with what it has at hand: the headers and the body of a request.
BUGS = {
    "raise": "raise RuntimeError(f'{headers} {body}')",
    "chain": """
        try:
            raise KeyError(str(headers))
        except KeyError as error:
            raise ValueError(body) from error""",
    "note": """
        error = ZeroDivisionError(headers["Authorization"])
        error.add_note(f"{headers} {body}")
        raise error""",
    "task": """
        async def left_alone():
            raise RuntimeError(f"{headers} {body}")
        asyncio.get_running_loop().create_task(left_alone())
        await asyncio.sleep(0.01)
        gc.collect()""",
    "callback": """
        def called(headers, body):
            raise RuntimeError(f"{headers} {body}")
        asyncio.get_running_loop().call_soon(called, headers["Authorization"], body)""",
    "del": """
        class Gone:
            def __del__(self):
                raise RuntimeError(f"{headers} {body}")
        Gone()""",
    "thread": """
        def threaded():
            raise RuntimeError(f"{headers} {body}")
        thread = threading.Thread(target=threaded)
        thread.start()
        thread.join()""",
    "log": 'logging.getLogger("x").error("%s %s", headers, body)',
    "warning": 'warnings.warn(f"{headers} {body}")',
    "group": "raise BaseExceptionGroup(str(headers), [KeyboardInterrupt(str(body))])",
}
BUG = """\
import asyncio, gc, logging, threading, warnings
from bulkhooks import network
async def send(self, method, url, headers, body):
    if method != "GET" or {always}:
        {bug}
    return await sent(self, method, url, headers, body)
sent, network._Way.send = network._Way.send, send
"""


@pytest.mark.parametrize(
    "bug", [name if name == "task" else pytest.param(name, marks=pytest.mark.slow) for name in BUGS]
)
def test_a_bug_is_told_by_its_place_and_without_what_it_is_about(case: Case, bug: str) -> None:
    text = BUG.format(bug=BUGS[bug].strip(), always="PATCH" in bug)
    (case.world.folder / "sitecustomize.py").write_text(text)
    path = f"{case.world.folder}{os.pathsep}{Path(__file__).parents[1]}"
    with served(overheard(case.search)) as url:
        case.tenants({name: f"{url}/{name}" for name in ("t0", "t1", "t2")})
        case.job(OFF)
        words = ("run", "job.json", *TENANTS, "--yes", "--fresh")
        for env in ({}, {"PYTHONDEVMODE": "1"}, {"PYTHONASYNCIODEBUG": "1"}):
            status, told = case.call(*words, PYTHONPATH=path, **env)
            assert "sitecustomize.py" in told or bug == "log", told
            if bug in ("raise", "chain", "note", "group"):
                assert status == 70
                assert "this is a bug in bulkhooks" in told
                assert "in _paced\n" in told
    case.assert_silent()


def deep() -> None:
    """Fail, and then again."""
    try:
        raise KeyError("marker")
    except KeyError as error:
        raise Unsure("what ours say is shown") from error


def gathered() -> None:
    """Fail in several ways at once."""
    try:
        deep()
    except Unsure as error:
        raise ExceptionGroup("marker", [ValueError("marker"), error]) from None


def test_a_bugs_place_is_told_whatever_led_to_it() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        gathered()
    told = where(caught.value)
    for words in ("in deep", "KeyError", "Unsure: what ours say is shown", "ValueError"):
        assert words in told
    assert "ExceptionGroup\n" in told
    assert "marker" not in told.replace('"marker"', "")
    first, second = Refused("one"), Refused("two")
    first.__cause__, second.__cause__ = second, first
    assert "one" in where(first)


# ---- what a server says


@pytest.mark.parametrize("style", [*STYLES.values()], ids=[*STYLES])
def test_a_secret_is_veiled_however_it_is_put(
    style: Callable[[str], bytes], search: Search
) -> None:
    for said in (TOKEN, f"Bearer {TOKEN} and {GATEWAY}", f"a {GATEWAY} {ISSUED} {TOKEN}"):
        told = veiled(style(said).decode(), (TOKEN, GATEWAY, ISSUED))
        assert search.found(("here", told.encode())) == []


WORD = "a_secret_of_small_letters"


def test_a_code_that_is_what_was_sent_is_not_shown() -> None:
    credential = ClientSecret(client_id=Given("id"), client_secret=Given(WORD))
    tenant = Tenant(name="t0", base_url="https://t0.example", credential=credential)
    for code, shown in ((WORD, False), (WORD[9:], False), ("invalid_client", True)):
        refused = Reply(status=401, body=json.dumps({"error": code}).encode())
        with pytest.raises(TenantError) as told:
            granted(tenant, {"client_id": "id", "client_secret": WORD}, refused)
        assert told.value.cause.endswith(code) == shown
        answer = Reply(status=400, body=json.dumps({"errorCode": code}).encode())
        with pytest.raises(ItemError) as other:
            value(create_secrets("A", {"K": WORD}), answer, client="", hidden=())
        assert other.value.cause.endswith(code) == shown


async def test_a_header_that_was_replaced_is_hidden_still(tmp_path: Path) -> None:
    class Answering:
        gate = Gate(1)

        def way_to(self, tenant: Tenant) -> Answering:
            return self

        async def send(self, *_: Any) -> tuple[Reply, dict[str, str]]:
            said = json.dumps({"message": f"not {GATEWAY}"}).encode()
            return Reply(status=401, body=said), {}

    (tmp_path / "key").write_text(GATEWAY)
    headers = {"X-Key": Reference.parse("file:key", tmp_path)}
    tenant = replace(Tenant.with_token("t0", "https://t0.example", TOKEN), headers=headers)
    client = ManagementClient(tenant, Limiter(Limits()), Answering(), Stop(), 1)
    await client.grant()
    (tmp_path / "key").write_text("another one")
    with pytest.raises(TenantError) as told:
        await client.read(get_hook("A"))
    assert told.value.cause == "401 not ***"


async def test_a_log_says_of_errors_that_are_not_ours_only_what_they_are() -> None:
    class Broken:
        gate = Gate(1)

        def way_to(self, tenant: Tenant) -> Broken:
            return self

        async def send(self, method: str, url: str, headers: Any, body: Any) -> Any:
            raise ValueError(f"{headers}")

    seen: list[Exchange] = []
    tenant = Tenant.with_token("t0", "https://t0.example", TOKEN)
    client = ManagementClient(tenant, Limiter(Limits()), Broken(), Stop(), 1, log=seen.append)
    with pytest.raises(ValueError, match="Bearer"):
        await client.read(get_hook("A"))
    assert [each.error for each in seen] == ["ValueError"]


async def test_a_key_that_cannot_sign_is_told_without_it(search: Search) -> None:
    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    text = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    broken = "\n".join(search.pem.splitlines()[2:])
    for pem in (text, broken, search.pem[:-60], "marker"):
        credential = ClientKey(client_id=Given("id"), private_key=Given(pem))
        tenant = Tenant(name="t0", base_url="https://t0.example", credential=credential)
        with pytest.raises(TenantError) as told:
            await request_for_token(tenant)
        assert str(told.value) == (
            "no credential: its private_key must be an RSA key in PEM, without a password"
        )


def test_what_may_hold_a_secret_does_not_show_it() -> None:
    for held in (
        Reply(status=200, body=b"marker"),
        Reference.parse("cmd:TOKEN=marker tool", Path()),
        Given("marker"),
        Grant(token="marker"),
        create_secrets("A", {"K": "marker"}),
    ):
        assert "marker" not in repr(held)


def test_what_is_no_secret_stays() -> None:
    said = "Payload validation error: 'Additional properties not allowed: triggerId' (x/y)"
    assert veiled(said, (TOKEN, "short", LINES)) == said
    assert veiled(f"a {TOKEN}, b {TOKEN[:19]}.", (TOKEN,)) == "a ***, b ***."
    assert veiled("no word is too short", ("word",)) == "no *** is too short"
