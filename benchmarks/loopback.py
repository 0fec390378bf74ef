"""Pretend tenants in a process of their own, so that their CPU is not counted as ours."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bulkhooks.sandbox import Sandbox, serve
from bulkhooks.sandbox.buckets import Bucket

#: What the command runs on, for anyio.run.
UVLOOP = {"use_uvloop": True}


#: What a log tells of a request.
_LOGGED = ("at", "tenant", "method", "path", "status", "remaining")


class Served:
    """A sandbox in another process; `url` is where it is."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        self.url = process.stdout.readline().strip()

    def cpu(self) -> float:
        """Seconds of CPU that it took so far. (Linux)"""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log(self) -> list[dict[str, Any]]:
        """Ends it; what it saw: at, tenant, method, path, status and remaining of every request."""
        out, _ = self._process.communicate("end\n")
        return [dict(seen) for seen in json.loads(out)]


@contextmanager
def served(**options: Any) -> Iterator[Served]:
    """A sandbox made of `options` (see `bulkhooks.sandbox.Sandbox`).

    `bucket` and each of `buckets` is a mapping of Bucket's fields, or None. It keeps a log if
    `keep_log` says so. With `ca_file` it speaks TLS, vouched for by a CA of its own, written there.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.loopback", json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Served(process)
        finally:
            process.kill()


def cpu(who: int = resource.RUSAGE_SELF) -> float:
    """Seconds of CPU that this process (or its ended children) took, user and system."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def write_json(name: str, figures: Mapping[str, Any]) -> None:
    """Keep a benchmark's figures beside its code, with the machine and versions they are for."""
    versions = {}
    for library in ("bulkhooks", "aiohttp", "auth0-python"):
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = "not installed"
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), **versions}
    path = Path(__file__).parent / f"{name}.json"
    path.write_text(json.dumps({"machine": machine, **figures}, indent=2) + "\n")
    sys.stderr.write(f"written to {path}\n")


def _bucket(fields: dict[str, Any] | None) -> Bucket | None:
    return Bucket(**fields) if fields else None


def _certified(ca_file: str) -> ssl.SSLContext:
    import trustme

    ca, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.cert_pem.write_to_path(ca_file)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def _serve(options: dict[str, Any]) -> None:
    ca_file = options.pop("ca_file", None)
    options["bucket"] = _bucket(options.get("bucket"))
    own = options.get("buckets") or {}
    options["buckets"] = {name: _bucket(fields) for name, fields in own.items()}
    sandbox = Sandbox(**{"keep_log": False} | options)
    async with serve(sandbox, tls=_certified(ca_file) if ca_file else None) as url:
        sys.stdout.write(url + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
    log = [
        {
            name: getattr(seen, name)
            for name in ("at", "tenant", "method", "path", "status", "remaining")
        }
        for seen in sandbox.log
    ]
    sys.stdout.write(json.dumps(log))


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
