"""Against the real auth0-deploy-cli: what either side exports, the other takes without a change.

The tool comes from npm, into pytest's cache. It speaks https only, so each pretend tenant stands
behind a small front of its own.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from bulkhooks.deploy_hooks import changes_by_import
from bulkhooks.sandbox import Request, Sandbox
from world import World, served

pytestmark = pytest.mark.interop

VERSION = "8.44.0"
SCRIPT = (
    "// \u00fcn\u00ef \"q\" '##NONE##' <b>\r\n\t`\\n` \U0001f600\u2028 no line break at the end"
)


@pytest.fixture(scope="session")
def tool(request: pytest.FixtureRequest) -> Path:
    """The folder of the tool's package."""
    if shutil.which("npm") is None:
        pytest.skip("needs node and npm")
    assert request.config.cache is not None
    home = request.config.cache.mkdir(f"auth0-deploy-cli-{VERSION}")
    package = home / "node_modules" / "auth0-deploy-cli"
    if not package.is_dir():
        name = f"auth0-deploy-cli@{VERSION}"
        words = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", name]
        subprocess.run(words, check=True, capture_output=True)
    return package


@contextmanager
def fronted(sandbox: Sandbox, tenant: str, certificate: Path) -> Iterator[str]:
    """One tenant of the sandbox over TLS, at a host of its own; gives host and port."""
    ready: list[tuple[int, Callable[[], object]]] = []
    started = threading.Event()

    async def face(request: web.BaseRequest) -> web.StreamResponse:
        asked = Request(
            tenant=tenant,
            method=request.method,
            path=request.rel_url.path,
            query=dict(request.rel_url.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        answer = await sandbox.reply(asked)
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def main() -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server = web.Server(face, access_log=None)
        listener = await loop.create_server(server, "127.0.0.1", 0, ssl=context)
        port = listener.sockets[0].getsockname()[1]
        ready.append((port, lambda: loop.call_soon_threadsafe(over.set)))
        started.set()
        await over.wait()
        listener.close()
        await server.shutdown(0.02)
        await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    started.wait(10)
    port, end = ready[0]
    try:
        yield f"localhost:{port}"
    finally:
        end()
        thread.join()


class Both(World):
    """A world in which the Deploy CLI can be called beside our program."""

    def deploy(self, tool: Path, tenant: str, *words: str, **settings: Any) -> str:
        """`a0deploy` on one tenant, for its hooks alone; what it said."""
        certificate = self.folder / "localhost.pem"
        if not certificate.exists():
            make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
            more = ["-addext", "subjectAltName=DNS:localhost"]
            both = ["-keyout", "localhost.pem", "-out", "localhost.crt"]
            subprocess.run(
                [*make.split(), *more, *both], cwd=self.folder, check=True, capture_output=True
            )
            with certificate.open("ab") as file:
                file.write((self.folder / "localhost.crt").read_bytes())
        given = {"AUTH0_ACCESS_TOKEN": "sandbox", "AUTH0_INCLUDED_ONLY": ["hooks"]} | settings
        with fronted(self.sandbox, tenant, certificate) as domain:
            (self.folder / "config.json").write_text(json.dumps(given | {"AUTH0_DOMAIN": domain}))
            ended = subprocess.run(
                ["node", str(tool / "lib" / "index.js"), *words, "-c", "config.json"],
                cwd=self.folder,
                env=self.env | {"NODE_EXTRA_CA_CERTS": "localhost.crt"},
                capture_output=True,
                text=True,
            )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def add_secrets(self, tenant: str, number: int, **secrets: str) -> None:
        """Give the tenant's hook at `number` secrets."""
        answer = self.sandbox.handle(
            Request(
                tenant=tenant,
                method="POST",
                path=f"/api/v2/hooks/{self.ids(tenant)[number]}/secrets",
                query={},
                headers={"authorization": "Bearer sandbox"},
                body=orjson.dumps(secrets),
            ),
            0.0,
        )
        assert answer.status == 201

    def job(self, *words: str) -> list[dict[str, Any]]:
        """The edits of the job that `job-from` makes."""
        out = self.call("job-from", *words, "--tenants", "tenants.json", "--json").stdout
        edits: list[dict[str, Any]] = json.loads(out)["edits"]
        if edits:
            self.write("made.json", out)
            self.call("validate", "made.json", "--tenants", "tenants.json")
        return edits


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    """Tenants `full`, with hooks and secrets of every sort, and `empty`."""
    sandbox = Sandbox(["full", "empty"], hooks=0)
    source = Sandbox(["full"], hooks=12)
    for hook in source.hooks_of("full"):
        sandbox.add_hook("full", **hook)
    sandbox.add_hook("full", name="odd-1e3", triggerId="send-phone-message", script=SCRIPT)
    wide = {"axios": "1.10", "@scope/pkg": "2.0.0", "ms": "1e3"}
    sandbox.add_hook("full", name="0x10", triggerId="post-change-password", dependencies=wide)
    with ExitStack() as stack:
        url = stack.enter_context(served(sandbox))
        world = Both(tmp_path, sandbox, url, ["full", "empty"])
        world.add_secrets("full", 0, API_KEY="s3cret", OTHER="x")
        sandbox.log.clear()
        yield world


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_both_export_the_same_files(both: Both, tool: Path) -> None:
    export = ("export", "--tenants", "tenants.json")
    both.call(*export, "--to", "ours")
    both.call(*export, "--to", "ours-yaml", "--yaml")
    both.deploy(tool, "full", "export", "-f", "directory", "-o", "theirs", **EVERYTHING)
    both.deploy(tool, "full", "export", "-f", "yaml", "-o", "theirs-yaml", **EVERYTHING)
    assert files(both.folder / "ours" / "full") == files(both.folder / "theirs")
    assert files(both.folder / "ours-yaml" / "full") == files(both.folder / "theirs-yaml")


@pytest.mark.parametrize("form", ["directory", "yaml"])
def test_what_it_exports_comes_back_as_nothing_to_do_or_as_the_same_hooks(
    both: Both, tool: Path, form: str
) -> None:
    both.sandbox.add_hook("full", name="Mixed Case", triggerId="credentials-exchange")
    both.deploy(tool, "full", "export", "-f", form, "-o", "theirs")
    assert both.job("theirs", "--tenant", "full") == []

    (both.folder / "map.json").write_text('{"NONE": "##NONE##"}')
    assert both.job("theirs", "--tenant", "empty", "--mappings", "map.json")
    both.run_job("made.json")
    made, there = (
        {hook.pop("name"): hook for hook in both.sandbox.hooks_of(tenant)}
        for tenant in ("empty", "full")
    )
    for hook in (*made.values(), *there.values()):
        del hook["id"]
    assert made == there


def test_it_imports_our_directory_without_a_change(both: Both, tool: Path) -> None:
    before = both.sandbox.hooks_of("full")
    told = both.call("export", "--tenants", "tenants.json", "--to", "ours", "--only", "full").stderr
    assert told == ""
    secrets = both.sandbox.secrets_of("full", both.ids("full")[0])
    both.deploy(tool, "full", "import", "-i", "ours/full")
    assert both.sandbox.hooks_of("full") == before
    assert both.sandbox.secrets_of("full", both.ids("full")[0]) == secrets != {}
    writes = [(seen.method, seen.path.count("/")) for seen in both.sandbox.writes()]
    assert writes == [("PATCH", 4)] * len(before), "every hook was seen, no secret was written"


def test_it_imports_our_yaml_and_does_to_names_what_export_told(both: Both, tool: Path) -> None:
    both.sandbox.add_hook("full", name="Mixed Case", triggerId="credentials-exchange")
    before = both.sandbox.hooks_of("full")
    words = ("export", "--tenants", "tenants.json", "--to", "ours", "--yaml", "--json")
    ended = both.call(*words)
    assert "full: hook Mixed Case, imported by auth0-deploy-cli, becomes mixed-case" in ended.stderr
    tenants = json.loads(ended.stdout)["tenants"]
    assert tenants["full"]["changed_by_import"] == {"Mixed Case": "becomes mixed-case"}
    both.deploy(tool, "full", "import", "-i", "ours/full/tenant.yaml")
    *same, new = both.sandbox.hooks_of("full")
    assert same == before
    assert new == before[-1] | {"name": "mixed-case", "id": new["id"]}
    assert [seen.method for seen in both.sandbox.writes()].count("POST") == 1


def test_markers_mean_to_us_what_they_mean_to_it(both: Both, tool: Path) -> None:
    hooks = both.folder / "tree" / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "one.json").write_text(
        '{"name": "check-##STAGE##", "triggerId": "@@TRIGGER@@", "enabled": ##ON##,'
        ' "script": "./one.js", "dependencies": @@DEPENDENCIES@@, "secrets": {"K": "##KEY##"}}'
    )
    (hooks / "one.js").write_text(
        "const a = '@@LIST@@', b = \"@@DEPENDENCIES@@\", c = @@ON@@, d = '##STAGE##';\n"
    )
    mappings = {
        "STAGE": "blue",
        "TRIGGER": "send-phone-message",
        "ON": True,
        "DEPENDENCIES": {"axios": "1.10", "ms": "##VERSION##"},
        "VERSION": "2.0.0",
        "LIST": ["a", {"b": 1}],
        "KEY": "s3cret",
    }
    config = {"AUTH0_KEYWORD_REPLACE_MAPPINGS": mappings}
    (both.folder / "map.json").write_text(json.dumps(config))
    both.deploy(tool, "empty", "import", "-i", "tree", **config)
    (hook,) = both.sandbox.hooks_of("empty")
    words = ("tree", "--tenant", "empty", "--mappings", "map.json")
    match = {"hook": {"name": "check-blue"}, "set_secrets": {"K": "env:KEY"}}
    assert both.job(*words) == [{"tenant": "empty"} | match]
    (made,) = both.job("tree", "--tenant", "full", "--mappings", "map.json")
    assert made["create"] == {key: hook[key] for key in made["create"]}
    assert made["create"].keys() == hook.keys() - {"id"}


def test_names_that_its_schema_refuses_are_known(tool: Path) -> None:
    names = ["a", "ab", "abc", "a b", "A-1", "-ab", "ab-", "a--b", "Name 2"]
    handler = str(tool / "lib" / "tools" / "auth0" / "handlers" / "hooks.js")
    script = (
        f"const p = new RegExp(require({handler!r}).schema.items.properties.name.pattern);"
        f"console.log(JSON.stringify({names}.filter((name) => !p.test(name))))"
    )
    out = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True).stdout
    refused = [name for name in names if "refused" in changes_by_import([name]).get(name, "")]
    assert refused == json.loads(out) == ["a", "ab", "-ab", "ab-"]


ACTIONS = {"AUTH0_INCLUDED_ONLY": ["actions", "triggers"]}
PRE = "pre-user-registration"


def add_actions(sandbox: Sandbox) -> None:
    """Two actions of tenant `full` that are bound, one that is not, and a draft."""
    sandbox.add_action("full", name="last", triggerId=PRE, code="exports.x = 1;\n", bound=True)
    sandbox.add_action(
        "full",
        name="first",
        triggerId=PRE,
        code=SCRIPT,
        dependencies={"axios": "1.7.9", "@scope/pkg": "2.0.0"},
        secrets={"KEY": "s3cret"},
        bound=0,
    )
    sandbox.add_action("full", name="alone", triggerId="post-login")
    sandbox.add_action("full", name="draft", triggerId="post-login", deployed=False)


def test_it_exports_the_sandboxes_actions_and_what_is_bound(both: Both, tool: Path) -> None:
    add_actions(both.sandbox)
    both.deploy(tool, "full", "export", "-f", "directory", "-o", "theirs", **ACTIONS)
    folder = both.folder / "theirs"
    shown = {action["name"]: action for action in both.sandbox.actions_of("full")}

    assert {path.stem for path in (folder / "actions").glob("*.json")} == shown.keys()
    for name, action in shown.items():
        written = json.loads((folder / "actions" / f"{name}.json").read_text())
        same = ("name", "runtime", "status", "dependencies", "supported_triggers")
        assert {key: written[key] for key in same} == {key: action[key] for key in same}
        assert written["secrets"] == [{"name": each["name"]} for each in action["secrets"]]
        assert written["deployed"] is (name != "draft")
        assert (folder / written["code"]).read_bytes().decode() == action["code"]
    (bound,) = json.loads((folder / "triggers" / "triggers.json").read_text()).items()
    assert bound == (
        PRE,
        [{"action_name": name, "display_name": name} for name in ("first", "last")],
    )


def test_its_import_of_a_changed_file_deploys_a_new_version(both: Both, tool: Path) -> None:
    add_actions(both.sandbox)
    both.deploy(tool, "full", "export", "-f", "directory", "-o", "theirs", **ACTIONS)
    (both.folder / "theirs" / "actions" / "first" / "code.js").write_text("exports.x = 2;\n")
    triggers = both.folder / "theirs" / "triggers" / "triggers.json"
    bound = json.loads(triggers.read_text())
    triggers.write_text(json.dumps({PRE: bound[PRE][::-1]}))
    before = {action["name"]: action for action in both.sandbox.actions_of("full")}
    both.deploy(tool, "full", "import", "-i", "theirs", **ACTIONS)
    after = {action["name"]: action for action in both.sandbox.actions_of("full")}

    version = after["first"]["deployed_version"]
    assert (version["number"], version["code"]) == (2, "exports.x = 2;\n")
    assert "deployed_version" not in after["draft"]
    assert after["first"]["id"] == before["first"]["id"]
    assert after["first"]["all_changes_deployed"]
    assert both.sandbox.action_secrets_of("full", after["first"]["id"]) == {"KEY": "s3cret"}
    assert both.sandbox.bindings_of("full", PRE) == ["last", "first"]


def test_its_import_makes_actions_deploys_and_binds_them(both: Both, tool: Path) -> None:
    add_actions(both.sandbox)
    both.deploy(tool, "full", "export", "-f", "directory", "-o", "theirs", **ACTIONS)
    for path in (both.folder / "theirs" / "actions").glob("*.json"):
        action = json.loads(path.read_text())
        action["secrets"] = [each | {"value": "given"} for each in action["secrets"]]
        path.write_text(json.dumps(action))
    both.deploy(tool, "empty", "import", "-i", "theirs", **ACTIONS)
    made, there = (
        {action["name"]: action for action in both.sandbox.actions_of(tenant)}
        for tenant in ("empty", "full")
    )

    assert made.keys() == there.keys()
    for name, action in made.items():
        same = ("code", "dependencies", "runtime", "supported_triggers", "all_changes_deployed")
        assert {key: action[key] for key in same} == {key: there[name][key] for key in same}
    assert both.sandbox.action_secrets_of("empty", made["first"]["id"]) == {"KEY": "given"}
    assert both.sandbox.bindings_of("empty", PRE) == ["first", "last"]


EVERYTHING = {"AUTH0_INCLUDED_ONLY": ["hooks", "actions", "triggers"]}
LOGIN = "post-login"


def add_odd_actions(sandbox: Sandbox) -> None:
    """More of tenant `full`: odd names, one without code, and two lists in their order."""
    add_actions(sandbox)
    odd = {"Odd/ N\u00e4me: 1e3": LOGIN, "0x10": LOGIN, "con": "send-phone-message"}
    for name, trigger in odd.items():
        sandbox.add_action("full", name=name, triggerId=trigger, bound=0)
    sandbox.add_action("full", name="none", triggerId="custom-phone-provider", code="")


def alike(actions: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What of actions goes from one tenant to another, by name; packages by theirs."""
    same = ("code", "runtime", "supported_triggers", "all_changes_deployed")
    return {
        action["name"]: {key: action[key] for key in same}
        | {"dependencies": sorted(list(each.items()) for each in action["dependencies"])}
        for action in actions
    }


def test_both_export_the_same_files_of_actions(both: Both, tool: Path) -> None:
    add_odd_actions(both.sandbox)
    export = ("export", "--tenants", "tenants.json")
    both.call(*export, "--to", "ours")
    both.call(*export, "--to", "ours-yaml", "--yaml")
    for tenant in ("full", "empty"):
        words = ("export", "-f", "directory", "-o", f"theirs-{tenant}")
        both.deploy(tool, tenant, *words, **EVERYTHING)
        assert files(both.folder / "ours" / tenant) == files(both.folder / f"theirs-{tenant}")
    both.deploy(tool, "full", "export", "-f", "yaml", "-o", "theirs-yaml", **EVERYTHING)
    assert files(both.folder / "ours-yaml" / "full") == files(both.folder / "theirs-yaml")


@pytest.mark.parametrize("form", ["directory", "yaml"])
def test_actions_that_it_exports_are_nothing_to_do_there_and_the_same_elsewhere(
    both: Both, tool: Path, form: str
) -> None:
    add_actions(both.sandbox)
    both.sandbox.add_action("full", name="Odd/ N\u00e4me", triggerId=PRE, bound=1)
    both.deploy(tool, "full", "export", "-f", form, "-o", "theirs", **ACTIONS)
    assert both.job("theirs", "--tenant", "full") == []

    (both.folder / "map.json").write_text('{"NONE": "##NONE##"}')
    assert both.job("theirs", "--tenant", "empty", "--mappings", "map.json")
    both.run_job("made.json")
    assert alike(both.sandbox.actions_of("empty")) == alike(both.sandbox.actions_of("full"))
    order = ["first", "Odd/ N\u00e4me", "last"]
    assert both.sandbox.bindings_of("empty", PRE) == order
    both.deploy(tool, "empty", "export", "-f", "directory", "-o", "again", **ACTIONS)
    bound = json.loads((both.folder / "again" / "triggers" / "triggers.json").read_text())
    assert [each["action_name"] for each in bound[PRE]] == order
    assert both.job("again", "--tenant", "empty") == []


def test_its_import_of_our_actions_changes_nothing_but_what_it_always_rewrites(
    both: Both, tool: Path
) -> None:
    add_actions(both.sandbox)
    (first,) = (a["id"] for a in both.sandbox.actions_of("full") if a["name"] == "first")
    before = both.sandbox.actions_of("full")
    both.call("export", "--tenants", "tenants.json", "--to", "ours", "--only", "full")
    both.deploy(tool, "full", "import", "-i", "ours/full", **ACTIONS)
    after = both.sandbox.actions_of("full")
    assert alike(after) == alike(before)
    assert both.sandbox.action_secrets_of("full", first) == {"KEY": "s3cret"}
    assert both.sandbox.bindings_of("full", PRE) == ["first", "last"]
    # What is deployed it writes and deploys again, and each list that has something in it.
    writes = [(seen.method, seen.path.rpartition("/")[2]) for seen in both.sandbox.writes()]
    assert writes.count(("POST", "deploy")) == 3
    assert writes.count(("PATCH", "bindings")) == 1
    assert len(writes) == 3 + 1 + len(before)
    assert both.job("ours", "--tenant", "full") == []


def test_what_migrate_makes_of_hooks_it_exports_as_actions(both: Both, tool: Path) -> None:
    hooks = {"audit": PRE, "check": "post-user-registration"}
    sandbox = both.sandbox
    for name, trigger in hooks.items():
        made = sandbox.add_hook(
            "empty",
            name=name,
            triggerId=trigger,
            enabled=True,
            dependencies={"axios": "1.7.9"},
            script="module.exports = function (user, context, cb) {\n  cb(null, { user });\n};\n",
        )
        sandbox.set_secrets("empty", made["id"], {"KEY": "s3cret"})
    sandbox.add_action("empty", name="other", triggerId=PRE, bound=True)
    (both.folder / "secrets.yaml").write_text("secrets: {KEY: env:TOKEN}\n")
    (both.folder / "job.json").write_text(
        json.dumps(
            {
                "edits": [
                    {
                        "tenant": "empty",
                        "create": {
                            "name": "late",
                            "triggerId": PRE,
                            "code": SCRIPT,
                            "bound": True,
                            "position": "last",
                        },
                        "deploy": True,
                    }
                ]
            }
        )
    )
    where = ("--tenants", "tenants.json")
    more = ("--only", "empty", "--secrets", "secrets.yaml", "--yes")
    both.call("migrate", "prepare", *where, *more)
    both.call("migrate", "cutover", "prepare.journal", *where, "--yes")
    both.run_job("job.json")
    (both.folder / "map.json").write_text('{"NONE": "##NONE##"}')
    assert not any(hook["enabled"] for hook in sandbox.hooks_of("empty"))

    both.deploy(tool, "empty", "export", "-f", "directory", "-o", "theirs", **EVERYTHING)
    folder = both.folder / "theirs"
    bound = json.loads((folder / "triggers" / "triggers.json").read_text())
    assert {trigger: [each["action_name"] for each in bound[trigger]] for trigger in bound} == {
        PRE: ["audit", "other", "late"],
        "post-user-registration": ["check"],
    }
    live = {action["name"]: action for action in sandbox.actions_of("empty")}
    assert live.keys() == {"audit", "check", "other", "late"}
    for name, action in live.items():
        written = json.loads((folder / "actions" / f"{name}.json").read_text())
        assert (folder / written["code"]).read_bytes().decode() == action["code"]
        assert written["deployed"] is True
        assert written["dependencies"] == action["dependencies"]
        names = [] if name in ("other", "late") else [{"name": "KEY"}]
        assert written["secrets"] == names
    assert both.job("theirs", "--tenant", "empty", "--mappings", "map.json") == []
