"""The arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JobArgument = Annotated[
    Path, typer.Argument(metavar="JOB", help="The job file: .yaml, .json, .jsonl or .csv.")
]
JournalArgument = Annotated[Path, typer.Argument(metavar="JOURNAL", help="The job's journal.")]
TenantsOption = Annotated[
    Path | None,
    typer.Option("--tenants", metavar="FILE", help="Default: tenants.yaml beside the job."),
]
HereOption = Annotated[
    Path, typer.Option("--tenants", metavar="FILE", help="Default: tenants.yaml in this folder.")
]
JournalOption = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FILE", help="Default: NAME.journal in this folder."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
MarkdownOption = Annotated[
    bool, typer.Option("--markdown", help="The whole of it, for a change ticket.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before writing.")]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Put an old journal aside and plan anew.")
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHICH", help="Just tenant NAME, tag:TAG, trigger:T, hook:NAME or action:NAME."
    ),
]
SkipOption = Annotated[
    list[str] | None, typer.Option(metavar="WHICH", help="All but these; named as for --only.")
]
MaxChangesOption = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Refuse a plan of more changes.")
]
MaxPerTenantOption = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="The same, on one tenant.")
]
MaxDeletesOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="Refuse to delete more hooks and actions than this.")
]
NoWaitOption = Annotated[
    bool,
    typer.Option(
        "--no-wait", help="Wait for no window and no soak: exit status 3, or 5 in a freeze."
    ),
]
ContinueOption = Annotated[
    bool, typer.Option("--continue", help="Go on after a halt that somebody has looked at.")
]
ScheduleOption = Annotated[
    Path | None,
    typer.Option(
        "--schedule", metavar="FILE", help="When: window, during, waves and halt, in a file apart."
    ),
]
LogOption = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="Append a line of JSON for every request."),
]
MetricsOption = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file", metavar="FILE.prom", help="Keep metrics for Prometheus in this file."
    ),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Tell every request on stderr.")
]
MappingsOption = Annotated[
    Path | None,
    typer.Option("--mappings", metavar="FILE", help="JSON: what ##KEY## and @@KEY@@ are."),
]
