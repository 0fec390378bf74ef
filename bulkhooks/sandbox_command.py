"""The command `sandbox`: what may be said of its tenants, and how they are served.

As in `cli`, what it needs is imported when it runs.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import print_json, print_text, talk
from .desk import run_async, until_signal
from .errors import Refused
from .options import JsonOption

if TYPE_CHECKING:
    from .sandbox.buckets import Bucket
    from .sandbox.faults import Fault, Faults


class Refill(StrEnum):
    """How a pretend tenant's tokens come back: one by one, or all at the top of each second."""

    DRIP = "drip"
    WINDOW = "window"


class SecondEnable(StrEnum):
    """What enabling a hook gets where another of its trigger is on."""

    CONFLICT = "conflict"
    BAD_REQUEST = "bad_request"
    SWITCH = "switch"


class Lifecycle(StrEnum):
    """What may be done to hooks: all, only what a deprecated feature lets, or nothing."""

    ACTIVE = "active"
    READ_ONLY = "read-only"
    GONE = "gone"


def sandbox(
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0 takes a free one.")] = 9100,
    tenants: Annotated[
        Path | None, typer.Option("--tenants", metavar="FILE", help="Serve these tenants.")
    ] = None,
    hooks: Annotated[int, typer.Option(min=0, max=1000, help="Hooks a tenant.")] = 25,
    actions: Annotated[int, typer.Option(min=0, max=100, help="Actions a tenant.")] = 6,
    bucket: Annotated[
        str, typer.Option(help="free, nonprod, prod, none, or BURST,RATE (a second).")
    ] = "prod",
    refill: Annotated[Refill, typer.Option(help="How tokens come back.")] = Refill.DRIP,
    latency: Annotated[float, typer.Option(min=0, max=60, help="Seconds an answer takes.")] = 0.0,
    second_enable: Annotated[
        SecondEnable,
        typer.Option(
            help="What a second enable of a trigger gets: 409, 400, or the first goes off."
        ),
    ] = SecondEnable.CONFLICT,
    lifecycle: Annotated[
        Lifecycle, typer.Option(help="What may be done to hooks.")
    ] = Lifecycle.ACTIVE,
    build_time: Annotated[
        float,
        typer.Option(min=0, max=600, help="Seconds an action builds, without dependencies."),
    ] = 0.5,
    failing_builds: Annotated[
        list[str] | None,
        typer.Option("--failing-build", metavar="NAME", help="Actions so named fail to build."),
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE", help="Of requests that go wrong: 10%, or hang=1%,error-500=2.5%."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the chance of --faults.")] = 0,
    json: JsonOption = False,
) -> None:
    """Serve pretend tenants on 127.0.0.1.

    Each is at http://127.0.0.1:PORT/TENANT until Ctrl-C; the bearer token is `sandbox`.
    """
    from .sandbox import Sandbox, serve
    from .tenants import load_tenants

    limit = _bucket_in(bucket, refill)
    fault = None if faults is None else faults_in(faults, seed)
    names = list(load_tenants(tenants)) if tenants else ["t0", "t1", "t2", "t3", "t4"]

    async def serving() -> None:
        box = Sandbox(
            names,
            hooks=hooks,
            actions=actions,
            bucket=limit,
            latency=latency,
            second_enable=second_enable.value,
            lifecycle=lifecycle.value,
            build_time=build_time,
            failing_builds=failing_builds or (),
            fault=fault,
            keep_log=False,
        )
        async with AsyncExitStack() as stack:
            try:
                url = await stack.enter_async_context(serve(box, port=port))
            except OSError as error:
                raise Refused(f"port {port}: {error.strerror}; choose another by --port") from error
            served = {name: f"{url}/{name}" for name in names}
            if json:
                print_json({"token": "sandbox", "tenants": served})
            else:
                print_text("\n".join(served.values()))
            talk("the bearer token is `sandbox`; /oauth/token gives others; Ctrl-C ends it")
            await until_signal()

    run_async(serving())


def _bucket_in(text: str, refill: Refill) -> Bucket | None:
    from .sandbox.buckets import BUCKETS, Bucket

    try:
        if text in BUCKETS:
            named = BUCKETS[text]
            return replace(named, refill=refill.value) if named else None
        burst, rate = text.split(",")
        return Bucket(burst=int(burst), rate=float(rate), refill=refill.value)
    except ValueError as error:
        raise typer.BadParameter(
            "--bucket is free, nonprod, prod, none, or BURST,RATE such as 50,16"
        ) from error


def faults_in(text: str, seed: int) -> Faults:
    """A share of all requests, even over all kinds, or each kind's own. Raises BadParameter."""
    from .sandbox.faults import FAULTS, Faults

    kinds: dict[str, Fault] = {kind: kind for kind in FAULTS}
    try:
        if "=" not in text:
            return Faults(seed, dict.fromkeys(FAULTS, _share(text) / len(FAULTS)))
        named = [each.strip().partition("=") for each in text.split(",")]
        rates = {kinds[kind]: _share(share) for kind, _, share in named}
        if len(rates) < len(named):
            raise ValueError("a kind named twice")
        return Faults(seed, rates)
    except (KeyError, ValueError) as error:
        raise typer.BadParameter(
            "--faults is a share such as 10%, or shares by kind such as hang=1%,error-500=2.5%, "
            f"at most 100% in all; kinds are {', '.join(FAULTS)}"
        ) from error


def _share(percent: str) -> float:
    if not percent.endswith("%"):
        raise ValueError("no per cent sign")
    return float(percent[:-1]) / 100
