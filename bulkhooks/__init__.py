"""Bulk updates of Auth0 hooks across many tenants: planned, paced, journaled, resumable.

This list is the public API; README shows it by example. A name is imported when it is first used,
so that a command loads no more than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auth0 import Exchange
    from .check import Checked, check_tenants
    from .errors import BadInput, BulkhooksError, JournalError, Locked, Refused
    from .guards import Guards, Narrowing
    from .jobfile import Job, load_job
    from .pacing import Limits
    from .report import Books, Summary, read_books
    from .run import apply_journal, plan_job, run_job, undo_journal
    from .tenants import Tenant, load_tenants

__all__ = [
    "BadInput",
    "Books",
    "BulkhooksError",
    "Checked",
    "Exchange",
    "Guards",
    "Job",
    "JournalError",
    "Limits",
    "Locked",
    "Narrowing",
    "Refused",
    "Summary",
    "Tenant",
    "apply_journal",
    "check_tenants",
    "load_job",
    "load_tenants",
    "plan_job",
    "read_books",
    "run_job",
    "undo_journal",
]

_HOME = {
    "auth0": ("Exchange",),
    "check": ("Checked", "check_tenants"),
    "errors": ("BadInput", "BulkhooksError", "JournalError", "Locked", "Refused"),
    "guards": ("Guards", "Narrowing"),
    "jobfile": ("Job", "load_job"),
    "pacing": ("Limits",),
    "report": ("Books", "Summary", "read_books"),
    "run": ("apply_journal", "plan_job", "run_job", "undo_journal"),
    "tenants": ("Tenant", "load_tenants"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
