"""Pretend tenants in a process of their own, so that their CPU is not counted as ours."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bulkhooks.sandbox import Bucket, Sandbox, serve


@contextmanager
def served(**options: Any) -> Iterator[str]:
    """A sandbox made of `options` (see `bulkhooks.sandbox.Sandbox`), and its URL.

    `bucket` and each of `buckets` is a mapping of Bucket's fields, or None.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.loopback", json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


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


async def _serve(options: dict[str, Any]) -> None:
    for key in ("bucket", "buckets"):
        if options.get(key):
            made = options[key]
            options[key] = (
                Bucket(**made)
                if key == "bucket"
                else {name: Bucket(**each) if each else None for name, each in made.items()}
            )
    async with serve(Sandbox(keep_log=False, **options)) as url:
        sys.stdout.write(url + "\n")
        sys.stdout.flush()
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
