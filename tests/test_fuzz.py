"""Whatever comes: files of people, headers and answers of servers. It is read, or refused in words.

Each property runs on a few hundred fixed examples, and on thousands of new ones where the slow
tests run.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhooks.auth0 import ManagementClient
from bulkhooks.errors import BadInput, Refused, TenantError, Unsure
from bulkhooks.gates import Gate, Stop
from bulkhooks.hooks import list_all
from bulkhooks.items import Reply
from bulkhooks.jobfile import load_job
from bulkhooks.network import Network, NotSent
from bulkhooks.pacing import LONGEST_HOLD, Limiter, Limits
from bulkhooks.sandbox import Sandbox
from bulkhooks.sandbox.buckets import Bucket
from bulkhooks.tenants import ClientSecret, Given, Tenant, load_tenants
from engine import NEW, PRE, Core, for_t0, one_on, work
from virtual import VirtualTimeLoop

JOBS = Path(__file__).parent.parent / "jobs"
TENANTS = {
    name: Tenant.with_token(name, f"https://{name}.example", "t") for name in ("prod-eu", "dev")
}


def sizes(few: int, many: int) -> pytest.MarkDecorator:
    """Examples of a property: the same few each time, and where one goes hunting many new ones."""
    hunt = pytest.param(many, marks=[pytest.mark.hunt, pytest.mark.timeout(1800)])
    return pytest.mark.parametrize("examples", [few, hunt])


def for_all(examples: int, strategy: st.SearchStrategy[Any], holds: Callable[[Any], None]) -> None:
    """That `holds` goes through for so many examples of a strategy."""
    fixed = examples < 1000
    small = settings(max_examples=examples, deadline=None, derandomize=fixed, database=None)
    small(given(strategy)(holds))()


# ---- what people write

#: What breaks readers: each of these has broken one somewhere.
NASTY = (
    *(
        "",
        "x",
        " ",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\0",
        "\x1b[2J",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ud800",
    ),
    *("\U0001f600", "\\ud800", "\\u0000", "\\", '"', "'", '""', "`", "{", "}", "[", "]", ",", ";"),
    *(":", ": ", "- ", "? ", "| ", "> ", "#", "--- ", "...\n", "%YAML 1.3\n", "&a ", "*a ", "<<: "),
    *("! ", "!!python/object/apply:os.system ", "!<%FF> ", "2024-05-01", "190:20:30", "1.10"),
    *("0x1F", "0o17", "1_0", ".5", "1e999", "5e-324", "NaN", ".inf", "-Infinity", "yes", "~"),
    *("null", "true", "9" * 10_000, "." * 5_000, "[" * 2_000, "- " * 50, '{"a":' * 40),
    *("name", "hook", "hooks", "tenant", "set", "edits", "limits", "tags", "*", "[!", "[b-a]"),
)
WORDS = st.from_regex(r"\A[a-zA-Z0-9]([a-zA-Z0-9 -]{0,8}[a-zA-Z0-9])?\Z")
FIELDS = st.fixed_dictionaries(
    {"name": WORDS}, optional={"enabled": st.booleans(), "script": st.text(min_size=1, max_size=9)}
)
#: Edits that are right, in the fields that a CSV has too.
FLAT = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(sorted(TENANTS)),
        "hook": st.from_regex(r"\A[A-Za-z0-9-]+\Z"),
        "set": FIELDS,
    },
    optional={"note": st.text(min_size=1, max_size=9)},
)
EDITS = FLAT | st.fixed_dictionaries(
    {
        "tenants": st.sampled_from(["prod-*", "*", ["dev"], {"not": "dev"}, {"names": "d?v"}]),
        "hooks": st.fixed_dictionaries({}, optional={"name": WORDS, "enabled": st.booleans()}).map(
            lambda match: match or {"triggerId": PRE}
        ),
        "set": FIELDS | st.just({"dependencies": {"axios": "1.7.9", "@a/b": "1.10"}}),
    },
    optional={"expect": FIELDS, "id": WORDS, "allow_empty": st.booleans()},
)
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "reserve": st.integers(0, 99) | st.just("20%"),
        "max_rate": st.floats(0.01, 1e9) | st.just("10/s"),
        "concurrency": st.integers(1, 64),
    },
)
TENANT = st.fixed_dictionaries(
    {"token": st.just("env:TOKEN")},
    optional={
        "tags": st.lists(st.sampled_from(["eu", "x"])),
        "protected": st.booleans(),
        "limits": LIMITS.filter(bool),
    },
)


def as_csv(edits: Iterable[dict[str, Any]]) -> str:
    """Edits of the fields that a CSV has."""
    columns = ("tenant", "hook", "name", "enabled", "script", "note")
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(columns)
    for edit in edits:
        flat = edit | edit["set"]
        rows.writerow(str(flat.get(name, "")) for name in columns)
    return text.getvalue()


def as_yaml(document: object) -> str:
    """A document as YAML, without anchors."""
    return yaml.dump(json.loads(json.dumps(document)), allow_unicode=True)


def as_lines(edits: Iterable[object]) -> str:
    """Edits as JSON Lines."""
    return "".join(json.dumps(edit) + "\n" for edit in edits)


#: Documents by their suffix.
AS: Mapping[str, Callable[[object], str]] = {
    ".yaml": as_yaml,
    ".json": lambda document: json.dumps(document, indent=1),
}
Text: TypeAlias = tuple[str, str]
#: A file's suffix, and a text that is right.
RIGHT_JOBS: st.SearchStrategy[Text] = st.one_of(
    st.lists(FLAT, min_size=1, max_size=3).map(lambda edits: (".csv", as_csv(edits))),
    st.lists(EDITS, min_size=1, max_size=3).map(lambda edits: (".jsonl", as_lines(edits))),
    st.tuples(st.sampled_from([".yaml", ".json"]), st.lists(EDITS, min_size=1, max_size=3)).map(
        lambda made: (
            made[0],
            AS[made[0]]({"name": "job", "edits": made[1]}),
        )
    ),
)
EXAMPLES: st.SearchStrategy[Text] = st.sampled_from(
    [
        (path.suffix, path.read_text())
        for path in sorted(JOBS.iterdir())
        if path.is_file() and path.name != "tenants.yaml" and path.suffix != ".py"
    ]
)
RIGHT_TENANTS: st.SearchStrategy[Text] = (
    st.lists(TENANT, min_size=1, max_size=3)
    .map(
        lambda made: {
            "tenants": {f"t{n}": each | {"domain": f"t{n}.example"} for n, each in enumerate(made)}
        }
    )
    .flatmap(
        lambda document: st.sampled_from(
            [
                (".yaml", as_yaml(document)),
                (".json", json.dumps(document, indent=1)),
                (".yaml", (JOBS / "tenants.yaml").read_text()),
            ]
        )
    )
)


@st.composite
def damaged(draw: st.DrawFn, right: st.SearchStrategy[Text]) -> tuple[str, bytes]:
    """A right text of which pieces went, came twice, changed places or became something nasty."""
    suffix, text = draw(right)
    pieces = re.findall(r"\w+|\s|.", text, re.DOTALL)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(pieces)))
        to = draw(st.integers(at, min(len(pieces), at + 5)))
        how = draw(st.sampled_from(["delete", "double", "swap", "replace", "replace"]))
        if how == "delete":
            pieces[at:to] = []
        elif how == "double":
            pieces[at:at] = pieces[at:to]
        elif how == "swap":
            pieces[at:to] = reversed(pieces[at:to])
        else:
            pieces[at:to] = [draw(st.sampled_from(NASTY) | st.text(max_size=5))]
    data = "".join(pieces).encode(errors="surrogatepass")
    if not draw(st.integers(0, 9)):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at:]
    return suffix, data


ANY = st.text().map(lambda text: text.encode(errors="surrogatepass")) | st.binary()

#: What is said of a whole file: no line of it is to blame.
OF_ALL = r"(is empty|has no edits|is longer|cannot be read|is not a file|.* cannot name a job)"
#: What is said of a text or of an edit as a whole: no key of it is to blame.
OF_TEXT = (
    rf"({OF_ALL}|is not (JSON|YAML|UTF-8|CSV)|has (a|an|no|half|\d+) |is nested|must be a mapping|"
    r"needs |unknown column|unknown key ``|column|cells must be|is given twice|\d+ more complaints)"
)


def read_or_refused(path: Path, data: bytes, read: Callable[[Path], object]) -> None:
    """That a file is read; or that each complaint says what is wrong and where, on one line."""
    path.write_bytes(data)
    try:
        read(path)
    except BadInput as error:
        complaints = error.complaints
    else:
        return
    assert complaints
    # YAML and editors know more ends of lines than one.
    last = len(re.split("\r\n|[\r\n\x85\u2028\u2029]", data.decode(errors="replace")))
    for found in complaints:
        assert found.file == str(path)
        assert str(found).isprintable()
        assert len(found.key) + len(found.what) < 2_000
        assert found.line is None or 1 <= found.line <= last
        assert found.line or re.match(OF_ALL, found.what), found
        assert found.key or re.match(OF_TEXT, found.what), found


def read_job(path: Path) -> None:
    """All edits of a job."""
    deque(load_job(path).edits(TENANTS), maxlen=0)


@sizes(100, 20_000)
def test_any_job_is_read_or_refused(tmp_path: Path, examples: int) -> None:
    suffixes = st.sampled_from([".yaml", ".json", ".jsonl", ".csv"])
    texts = damaged(RIGHT_JOBS | EXAMPLES) | st.tuples(suffixes, ANY)

    def holds(text: tuple[str, bytes]) -> None:
        read_or_refused(tmp_path / f"job{text[0]}", text[1], read_job)

    for_all(examples, texts, holds)


@sizes(60, 20_000)
def test_any_tenants_are_read_or_refused(tmp_path: Path, examples: int) -> None:
    texts = damaged(RIGHT_TENANTS) | st.tuples(st.sampled_from([".yaml", ".json"]), ANY)

    def holds(text: tuple[str, bytes]) -> None:
        read_or_refused(tmp_path / f"tenants{text[0]}", text[1], load_tenants)

    for_all(examples, texts, holds)


@sizes(60, 5_000)
def test_what_is_right_is_read(tmp_path: Path, examples: int) -> None:
    """Else the damage above would be done to texts that were refused anyhow."""

    def holds(texts: tuple[Text, Text]) -> None:
        for (suffix, text), read in zip(texts, (read_job, load_tenants), strict=True):
            path = tmp_path / f"file{suffix}"
            path.write_bytes(text.encode())
            read(path)

    for_all(examples, st.tuples(RIGHT_JOBS, RIGHT_TENANTS), holds)


#: Makes something that is no file where a path leads.
IN_PLACE: Mapping[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "circle": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nothing"),
    "nothing": lambda path: path.parent.rmdir(),
}
SAID_OF = dict.fromkeys(IN_PLACE, "cannot be read: ") | dict.fromkeys(
    ("folder", "pipe"), "is not a file"
)


@pytest.mark.parametrize("what", IN_PLACE)
@pytest.mark.parametrize("suffix", [".yaml", ".json", ".jsonl", ".csv"])
def test_what_is_no_file_is_refused(tmp_path: Path, what: str, suffix: str) -> None:
    path = tmp_path / f"sub/job{suffix}"
    path.parent.mkdir()
    IN_PLACE[what](path)
    for read in (read_job, load_tenants):
        with pytest.raises(BadInput, match=SAID_OF[what]):
            read(path)


@pytest.mark.parametrize("name", ["a\0b", "n" * 300, "file/x"])
@pytest.mark.parametrize("suffix", [".yaml", ".json", ".jsonl", ".csv"])
def test_what_cannot_be_a_files_name_is_refused(tmp_path: Path, name: str, suffix: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / f"{name}{suffix}"
    for read in (read_job, load_tenants):
        with pytest.raises(BadInput, match=r"cannot be read|null byte"):
            read(path)


@pytest.mark.parametrize(
    "text",
    [
        b'{"' + b"." * 900_000 + b'": 1}',
        b'{"tenant": "dev", "hook": "a", "set": {"' + b"." * 900_000 + b'": 1}}',
        b'{"tenants": {"' + b"a." * 400_000 + b'": {"' + b"b." * 40_000 + b'": 1}}}',
        b'{"tenant": "dev", "hook": "a", "set_secrets": {"' + b"." * 900_000 + b'": "env:A"}}',
    ],
    ids=["top", "in an edit", "tenant", "secret"],
)
@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_an_endless_key_is_shown_by_its_beginning(tmp_path: Path, text: bytes, suffix: str) -> None:
    """It once took a minute to find that no line has it, and stood whole in the message."""
    for read in (read_job, load_tenants):
        read_or_refused(tmp_path / f"job{suffix}", text, read)


def test_a_glob_in_the_wrong_place_reaches_no_terminal_as_it_is(tmp_path: Path) -> None:
    text = b'tenant,hook,enabled\n"\x1b[2J' + b"x" * 5_000 + b'*",a,true\n'
    read_or_refused(tmp_path / "job.csv", text, read_job)


def test_of_very_many_complaints_the_last_word_is_kept(tmp_path: Path) -> None:
    """What makes the text no document comes with the first ten thousand of the rest."""
    for end, line in (("", 1), ("- *a", 15_001)):
        path = tmp_path / "job.yaml"
        path.write_text("- ! a\n" * 15_000 + end)
        with pytest.raises(BadInput) as caught:
            load_job(path)
        assert len(caught.value.complaints) == 10_001
        assert any(not found.key and found.line == line for found in caught.value.complaints)
        assert caught.value.complaints[-1].what == "5001 more complaints; correct these first"


def test_what_is_wrong_at_the_end_of_a_text_is_on_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: a\nx")
    with pytest.raises(BadInput, match=r"job\.yaml:2: is not YAML"):
        load_job(path)


def test_a_long_tenant_is_complained_of_at_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "tenants.yaml"
    name = "n" * 100
    path.write_text(f"tenants:\n  {name[1:]}x: {{}}\n  {name}:\n    domain: a b\n    token: env:A")
    with pytest.raises(BadInput) as caught:
        load_tenants(path)
    assert [(found.line, found.key) for found in caught.value.complaints] == [
        (2, f"tenants.{name[1:]}x"),
        (4, f"tenants.{name}.domain"),
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("job.yaml", b"edits: !!python/object/apply:os.system [x]"),
        ("job.yaml", "edits: []".encode("utf-16")),
        ("job.json", b'{"edits": ' + b"[" * 100_000),
        ("job.jsonl", b'{"tenant": "\xed\xa0\x80"}\n\0\n{"' + b"." * 500_000 + b'": NaN}'),
        ("job.csv", b'tenant,hook,hook\r"\0,x\n'),
        ("n" * 300 + ".csv", b""),
        ("a\nb.jsonl", b"{}"),
        (b"caf\xe9.yaml", b"edits: [1]"),
    ],
    ids=["tag", "utf-16", "deep", "long key", "columns", "long name", "break", "latin-1"],
)
def test_the_command_refuses_in_words(tmp_path: Path, name: str | bytes, data: bytes) -> None:
    """Exit status 2, on a person's terminal and for a program."""
    path = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    if data:
        Path(os.fsdecode(path)).write_bytes(data)
    for words in ([], ["--json"]):
        ended = subprocess.run(
            [sys.executable, "-m", "bulkhooks", "validate", path, *words],
            cwd=tmp_path,
            capture_output=True,
            timeout=50,
        )
        assert ended.returncode == 2, ended
        assert b"Traceback" not in ended.stderr + ended.stdout
        assert ended.stderr


# ---- what servers say


#: Values of headers about limits, the usual ones and those that no server should send.
SAID = st.one_of(
    st.none(),
    st.sampled_from(["", "nan", "inf", "-inf", "1e308", "-1e308", "many", "0", "-1", "٣", "1_0"]),
    st.sampled_from(["1e-320", "9" * 5_000, " 5 ", "5,6", "\udcff", '"default";r=12;t=1', "?1"]),
    st.integers(-10, 10**12).map(str),
    st.integers(1_799_999_997, 1_800_000_100).map(str),
    st.integers(0, 60).map(str),
    st.integers(0, 2_000).map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            "Fri, 15 Jan 2027 08:00:00 GMT",
            "Fri, 15 Jan 2027 09:00:00 GMT",
            "Fri, 15 Jan 0000 08:00:00 GMT",
            "Fri, 15 Jan 2027 08:00:00 +99999999999999",
            "Friday, 15-Jan-27 08:00:00 GMT",
        ]
    ),
    st.text(max_size=12),
)
NAMES = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after", "date")
COUSINS = ("ratelimit", "ratelimit-policy", "x-rate-limit-remaining")
#: Seconds between an answer and the next, its status, and what its headers say.
ANSWERS = st.tuples(
    st.sampled_from([0.0, 0.03, 1.0, 20.0]),
    st.sampled_from([200, 200, 429, 500, None]),
    st.fixed_dictionaries(dict.fromkeys((*NAMES, *COUSINS), SAID)),
)


class Counting(VirtualTimeLoop):
    """A loop that finds out who does not wait."""

    rounds = 0

    def _run_once(self) -> None:
        self.rounds += 1
        assert self.rounds < 4_000, "spins"
        super()._run_once()  # type: ignore[misc]


async def paced(reserve: float | None, chance: float, answers: list[Any]) -> None:
    """A limiter through all of these answers, with up to four requests in flight."""
    limiter = Limiter(Limits(reserve=reserve), jitter=lambda wait: wait * chance)
    loop = asyncio.get_running_loop()
    for start in range(0, len(answers), 4):
        asking = [asyncio.ensure_future(limiter.turn()) for _ in answers[start : start + 4]]
        for turn, (seconds, status, said) in zip(asking, answers[start : start + 4], strict=True):
            try:
                # Without an answer the head of the line goes on within a hold and a blind look.
                given = await asyncio.wait_for(turn, LONGEST_HOLD + 200)
            except TenantError:
                continue
            await asyncio.sleep(seconds)
            if status is None:
                given.lost()
            else:
                given.answered(status, {name: text for name, text in said.items() if text})
            assert limiter._hold - loop.time() <= LONGEST_HOLD + 1e-3
    pace = limiter.statistics()
    assert pace.refill is None or pace.refill < float("inf")


@sizes(80, 20_000)
def test_any_headers_are_borne(examples: int) -> None:
    """Turns come within bounds, nothing spins, and no hold is longer than 300 s."""
    strategy = st.tuples(
        st.sampled_from([None, 0, 3, 0.5]),
        st.sampled_from([0.0, 0.5, 1.0]),
        st.lists(ANSWERS, min_size=1, max_size=16),
    )

    def holds(example: tuple[float | None, float, list[Any]]) -> None:
        with asyncio.Runner(loop_factory=Counting) as runner:
            runner.run(paced(*example))

    for_all(examples, strategy, holds)


#: A server's head, of which any part may be a lie.
HEADS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["Content-Length", "Content-Encoding", "Transfer-Encoding", "Date"])
            | st.sampled_from(["Content-Type", "Location", "Set-Cookie", "Connection", "Upgrade"]),
            st.sampled_from(["0", "1", "5", "-1", "999999999999999999999", "gzip", "deflate", "br"])
            | st.sampled_from(["zstd", "chunked", "identity", "close", "h2c", "text/html", "///"])
            | st.sampled_from(["application/json; charset=nonsense", "http://[", "a=b; Path=\x01"])
            | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=9),
        ).map(lambda pair: f"{pair[0]}: {pair[1]}"),
        st.text(st.characters(max_codepoint=255), max_size=9),
    ),
    max_size=4,
)
HEAD = st.tuples(
    st.sampled_from(["200 OK", "204 No", "304 Not", "301 M", "401 U", "599 x", "99 x", "x", "2e2"]),
    HEADS,
    st.binary(max_size=30) | st.sampled_from([b"{}", b"5\r\nabc", b"0\r\n\r\n", b"\x1f\x8b\x08"]),
)


@sizes(100, 5_000)
def test_any_bytes_of_a_server_are_an_answer_or_an_error(examples: int) -> None:
    """Lengths, encodings and redirects that lie: never an exception that is not ours."""

    async def ask(said: bytes) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            tenant = Tenant.with_token("t", f"http://{host}:{port}", "token")
            async with Network.opened() as network:
                with suppress(NotSent, Unsure):
                    await network.way_to(tenant).send("GET", tenant.base_url, {}, None)

    def holds(answer: tuple[str, list[str], bytes]) -> None:
        status, head, body = answer
        lines = "\r\n".join([f"HTTP/1.1 {status}", *head, "", ""])
        asyncio.run(ask(lines.encode("latin-1") + body))

    for_all(examples, HEAD, holds)


# ---- what the API answers

#: The nine calls and the token's: method, and the end of the path.
CALLS = {
    "list": ("GET", r"/hooks\?"),
    "create": ("POST", r"/hooks\Z"),
    "get": ("GET", r"/hooks/[^/]+\Z"),
    "update": ("PATCH", r"/hooks/[^/]+\Z"),
    "delete": ("DELETE", r"/hooks/[^/]+\Z"),
    "get secrets": ("GET", r"/secrets\Z"),
    "create secrets": ("POST", r"/secrets\Z"),
    "update secrets": ("PATCH", r"/secrets\Z"),
    "delete secrets": ("DELETE", r"/secrets\Z"),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
DEEP: Any = json.loads("[" * 900 + "]" * 900)
NESTED = st.sampled_from([DEEP, {"axios": DEEP}])
WRONG = st.sampled_from([{"axios": 1}, {"axios": "1"}, 2**64, 1e300, True, False, None])
ODD = WRONG | st.sampled_from(["", "a", "A", "OLD", PRE, "\0", "\x1b[2J", "x" * 5_000])
VALUE = NESTED | ODD | JSON
FIELD = st.sampled_from(["id", "name", "triggerId", "enabled", "script", "dependencies", "OLD"])
#: Fields of a hook, and what a server makes of them; an empty tuple: it leaves the field out.
TWISTS = st.dictionaries(
    FIELD,
    st.tuples(NESTED) | st.tuples(ODD) | st.tuples(JSON) | st.just(()),
    min_size=1,
)
STATUS = st.sampled_from([200, 200, 200, 201, 204, 302, 400, 403, 404, 409, 410])
#: A status and a body in place of the server's, or twists of its own body.
LIE = st.tuples(STATUS, VALUE.map(lambda value: json.dumps(value).encode()) | st.binary()) | TWISTS


def twisted(answer: Any, twists: dict[str, tuple[Any, ...]]) -> Any:
    """An answer whose hooks, or whose own fields, are not as they were."""
    if isinstance(answer, list):
        return [twisted(inner, twists) for inner in answer]
    if not isinstance(answer, dict):
        return answer
    if "hooks" in answer:
        return answer | {"hooks": twisted(answer["hooks"], twists)}
    kept = {name: value for name, value in answer.items() if name not in twists}
    return kept | {name: value[0] for name, value in twists.items() if value}


class Lying(Core):
    """The sandbox's core, some of whose calls are answered with lies, after so many true words."""

    def __init__(self, sandbox: Sandbox, folder: Path, lies: dict[str, Any], true: int) -> None:
        super().__init__(sandbox, folder / "j", folder / "none", 0, False)
        self.lies, self.asked, self.true = lies, dict.fromkeys(CALLS, 0), true

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        reply, seen = await super().send(method, url, headers, body)
        for name, (wanted, end) in CALLS.items():
            if method == wanted and re.search(end, url):
                self.asked[name] += 1
                if name in self.lies and self.asked[name] > self.true:
                    return self.lied(reply, self.lies[name]), seen
        return reply, seen

    @staticmethod
    def lied(reply: Reply, lie: Any) -> Reply:
        if isinstance(lie, tuple):
            return Reply(status=lie[0], body=lie[1])
        if not reply.body:
            return reply
        answer = twisted(json.loads(reply.body), lie)
        return Reply(status=reply.status, body=json.dumps(answer).encode())


EVERY_KIND = for_t0(
    {"hook": "A", "set": {"name": "renamed", "script": "s", "dependencies": {"axios": "1"}}},
    {"hooks": {"triggerId": PRE, "name": "b*"}, "set": {"enabled": True}},
    {"hook": {"name": "c"}, "delete": True},
    {"hook": "A", "expect": {"script": "x"}, "set_secrets": {"NEW": "env:SECRET_ONE"}},
    {"hook": "B", "set_secrets": {"OLD": "env:SECRET_ONE", "NEW": "env:SECRET_TWO"}},
    {"hook": "B", "remove_secrets": ["GONE"], "allow_empty": True},
    {"create": NEW | {"name": "new", "triggerId": PRE}, "set_secrets": {"K": "env:SECRET_ONE"}},
    {"create": NEW | {"name": "other", "triggerId": "send-phone-message", "enabled": True}},
)


@sizes(30, 3_000)
def test_any_answer_is_taken_or_told(
    tmp_path_factory: pytest.TempPathFactory, examples: int
) -> None:
    """A plan and its apply end, the books balance, whatever some of the calls are answered."""
    # What is read is the most that is done with an answer.
    calls = st.sampled_from(["list", "get", "get secrets"]) | st.sampled_from(sorted(CALLS))
    lies = st.dictionaries(calls, LIE, min_size=1, max_size=3)
    strategy = st.tuples(lies, st.sampled_from([0, 0, 1, 2]))

    def holds(example: tuple[dict[str, Any], int]) -> None:
        folder = tmp_path_factory.mktemp("any")
        sandbox = one_on(bucket=Bucket(burst=1000, rate=1000))
        sandbox.set_secrets("t0", "B", {"OLD": "old", "GONE": "gone"})
        network = Lying(sandbox, folder, *example)
        try:
            books = anyio.run(partial(work, folder / "j", network, plan=EVERY_KIND))
        except Refused:  # the edits contradict on what was answered, or match nothing
            return
        assert sum(books.values()) >= 6

    for_all(examples, strategy, holds)


class Tokens:
    """A network of one tenant that answers for its tokens as it is told, and has no hooks."""

    def __init__(self, reply: Reply) -> None:
        self.reply, self.gate = reply, Gate(8)

    def way_to(self, tenant: Tenant) -> Tokens:
        return self

    async def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[Reply, Mapping[str, str]]:
        if url.endswith("/oauth/token"):
            return self.reply, {}
        token = headers["Authorization"].removeprefix("Bearer ")
        assert token.isprintable()
        return Reply(status=200, body=b"[]"), {}


TOKEN = st.fixed_dictionaries(
    {},
    optional={
        "access_token": VALUE,
        "expires_in": VALUE | st.floats() | st.integers(),
        "token_type": VALUE,
        "error": VALUE,
    },
)


@sizes(100, 10_000)
def test_any_token_is_used_or_told(examples: int) -> None:
    """Whatever the token endpoint answers, a call is answered or its tenant given up."""
    credential = ClientSecret(client_id=Given("id"), client_secret=Given("secret"))
    tenant = Tenant(name="t", base_url="https://t.example", credential=credential)
    bodies = (TOKEN | VALUE).map(lambda value: json.dumps(value).encode()) | st.binary()

    async def ask(reply: Reply) -> None:
        network = Tokens(reply)
        client = ManagementClient(
            *(tenant, Limiter(Limits()), network, Stop(), 8), jitter=lambda wait: wait
        )
        with suppress(TenantError):
            for _ in range(3):
                assert await list_all(client.read) == {}

    def holds(answer: tuple[int, bytes]) -> None:
        with asyncio.Runner(loop_factory=Counting) as runner:
            runner.run(ask(Reply(status=answer[0], body=answer[1])))

    for_all(examples, st.tuples(st.sampled_from([200, 200, 201, 401, 429, 500]), bodies), holds)
