"""A person's own Python functions, that say what is to become of each hook or action.

A function is looked at where a job is checked, and run where the job is planned: on plain values,
with no secret among them, and what it gives is checked like what a job says.
"""

from __future__ import annotations

import ast
import importlib
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from hashlib import blake2b
from io import StringIO
from pathlib import Path
from traceback import TracebackException
from types import ModuleType
from typing import Any, Final, Literal

import orjson

from . import kinds
from .errors import ItemError
from .fields import ACTIONS, HOOKS, Resource
from .items import SECRET, Fields, Transform
from .kinds import matcher, rule
from .source import Findings, read_below, read_file, shown

#: Bytes in a file of functions, at most.
MAX_FILE: Final = 1_000_000
#: Characters of a cause, at most.
_SHOWN: Final = 200
#: What a function may say of an action that is to come of a hook.
_PROPOSED: Final = frozenset({"name", "code", "dependencies", "runtime"})
_AGAIN: Final = "then plan the job again"

_is_transform = matcher(kinds.TransformName)


def find(written: str, folder: Path, *, arguments: int = 1) -> Transform:
    """The function that `written`, FILE.py:function, names; the file is in `folder` or below it.

    Nothing of the file is run. Raises ValueError with what is wrong: it is not there, is no Python,
    has no such function at its top level, or that does not take so many `arguments` (two where a
    hook is to become an action).
    """
    if not _is_transform(written):
        raise ValueError(f"must be {rule(kinds.TransformName)}, not {shown(written)}")
    name, _, function = written.rpartition(":")
    path, data = read_below(folder, name, MAX_FILE, keep_mark=True)
    functions = {
        each.name: each
        for each in _parsed(name, data).body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    if function not in functions:
        near = get_close_matches(function, functions, 1)
        more = f"; did you mean {shown(near[0])}?" if near else ""
        raise ValueError(f"{shown(name)} defines no {shown(function)} at its top level{more}")
    if wrong := _unfit(functions[function], arguments):
        line = functions[function].lineno
        raise ValueError(f"{shown(function)} in line {line} of {shown(name)} {wrong}")
    return Transform(file=str(path), function=function, digest=_digest(data))


def _parsed(name: str, data: bytes) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(data)
            compile(tree, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f" line {error.lineno}:" if error.lineno else ""
        raise ValueError(f"{shown(name)} is not Python:{line} {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{shown(name)} is not Python: {error}") from None
    return tree


def _unfit(function: ast.FunctionDef | ast.AsyncFunctionDef, arguments: int) -> str:
    """Why a function cannot be called with so many arguments; "" if it can."""
    if isinstance(function, ast.AsyncFunctionDef):
        return "is async; write a plain def"
    if function.decorator_list:
        return ""  # who decorates it says what it takes
    takes = function.args
    most = len(takes.posonlyargs) + len(takes.args)
    least = most - len(takes.defaults) + sum(default is None for default in takes.kw_defaults)
    if least <= arguments and (arguments <= most or takes.vararg):
        return ""
    if arguments == 1:
        return "must take 1 argument: the hook or action"
    return f"must take {arguments} arguments: the hook and the proposed action"


class Transforms:
    """Calls functions of people's files: each file is loaded once, when it is first needed.

    `folder` is the job's, or the journal's: a file that is not in it or below it is refused, so
    that a journal from elsewhere runs no code. `tell` is given what belongs on stderr: what the
    functions write, and each different traceback once. Use it from one thread.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder = folder.resolve()
        self._tell = tell
        #: By path and digest: what was loaded, or what became of that.
        self._loaded: dict[tuple[str, str], ModuleType | ItemError] = {}
        self._written = StringIO()
        self._told: set[object] = set()

    def apply(
        self, transform: Transform, fields: Fields, *, of: Literal["hooks", "actions"], tenant: str
    ) -> Fields:
        """What is to be set on a hook or an action: the fields that its function gives otherwise
        than they are, by the names of `set`; none if it gives None.

        `fields` is all that is known of it, secrets as `secrets.NAME`. Raises ItemError: the file
        is elsewhere or was changed, the function failed, or what it gives cannot be set.
        """
        resource = HOOKS if of == "hooks" else ACTIONS
        given = _given(fields)
        where = f"{resource.one} {given.get('name', given.get('id'))} of {tenant}"
        result = self._call(transform, where, given)
        settable = resource.set.keys - {f"{resource.text}_file"}
        return _changed(transform, where, resource, given, result, settable) or {}

    def propose(
        self, transform: Transform, hook: Fields, action: Fields, *, tenant: str
    ) -> Fields | None:
        """The action that is to come of a hook, where `action` is proposed; None for none.

        The function is given both, and may say name, code, dependencies and runtime otherwise.
        Raises ItemError as `apply` does.
        """
        given = _given(hook)
        where = f"hook {given.get('name', given.get('id'))} of {tenant}"
        result = self._call(transform, where, given, action)
        changed = _changed(transform, where, ACTIONS, action, result, _PROPOSED)
        return None if changed is None else action | changed

    def _call(self, transform: Transform, where: str, *arguments: Fields) -> object:
        """What a function gives: None, or plain values of JSON."""
        function = getattr(self._module(transform), transform.function, None)
        try:
            with redirect_stdout(self._written):
                if not callable(function):
                    raise TypeError(f"{transform.function} is no function")
                result = function(*map(_copied, arguments))
                if isinstance(result, Mapping):
                    return _copied(dict(result))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a person's function may raise whatever it likes
            raise self._failed(transform, where, error) from None
        finally:
            self._let_out()
        if result is not None:
            kind = type(result).__name__
            raise _wrong(transform, where, f"gives {kind}; must be a mapping of fields, or None")
        return None

    def _module(self, transform: Transform) -> ModuleType:
        key = transform.file, transform.digest
        if key not in self._loaded:
            self._loaded[key] = self._load(transform, self._read(transform))
        loaded = self._loaded[key]
        if isinstance(loaded, ItemError):
            raise ItemError(loaded.cause, loaded.hint)
        return loaded

    def _read(self, transform: Transform) -> bytes:
        path = Path(transform.file)
        try:
            inside = path.resolve().is_relative_to(self._folder)
            data = read_file(path, MAX_FILE, keep_mark=True) if inside else b""
        except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
            raise ItemError(f"{path.name} {error}", "put it back, or plan the job again") from None
        if not inside:
            hint = f"plan the job again, in the folder of {path.name}"
            raise ItemError(f"no code is run from outside of {self._folder}: {path}", hint)
        if _digest(data) != transform.digest:
            cause = f"{path.name} was changed since the plan was made"
            raise ItemError(cause, "plan the job again, or put the file back as it was")
        return data

    def _load(self, transform: Transform, data: bytes) -> ModuleType | ItemError:
        path = Path(transform.file)
        module = ModuleType(path.stem)
        module.__file__ = str(path)
        try:
            with redirect_stdout(self._written), _importable(path.parent):
                # Dataclasses and the like look for their module there.
                sys.modules.setdefault(path.stem, module)
                exec(compile(data, str(path), "exec", dont_inherit=True), vars(module))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self._failed(transform, "", error)
        finally:
            self._let_out()
        return module

    def _failed(self, transform: Transform, where: str, error: BaseException) -> ItemError:
        """What a function's own error is to us; its traceback is told once for each place."""
        self._let_out()  # what was written came before
        path = Path(transform.file)
        told = TracebackException.from_exception(error)
        _leave_ours_out(told, path.parent)
        lines = [each.lineno for each in told.stack if each.filename == str(path)]
        said = next(iter(str(told).splitlines()), "")[:_SHOWN]
        at = ":".join([path.name, *(str(line) for line in lines[-1:])])
        kind = type(error).__qualname__
        cause = _clean(f"{at}: {kind}: {said}" if said else f"{at}: {kind}")
        did = f"{transform.function} failed on {where}" if where else "it cannot be loaded"
        where_from = (kind, *((each.filename, each.lineno) for each in told.stack))
        if where_from not in self._told:
            self._told.add(where_from)
            self._tell(_clean(f"{path.name}: {did}\n{''.join(told.format())}", "\n\t"))
        return ItemError(cause, f"{did}; correct it, {_AGAIN}")

    def _let_out(self) -> None:
        """Tell what was written meanwhile."""
        text = self._written.getvalue()
        if text:
            self._written.seek(0)
            self._written.truncate()
            self._tell(_clean(text, "\n\t"))


def _given(fields: Fields) -> Fields:
    """What a function is given of a hook or an action: names of secrets are a list."""
    plain = {key: value for key, value in fields.items() if not key.startswith(SECRET)}
    names = [key for key, there in fields.items() if key.startswith(SECRET) and there]
    return plain | {"secrets": sorted(key.removeprefix(SECRET) for key in names)}


def _changed(
    transform: Transform,
    where: str,
    resource: Resource,
    given: Fields,
    result: Any,
    settable: Collection[str],
) -> Fields | None:
    """The fields that a result has otherwise than they were given, if they are right."""
    if result is None:
        return None
    found = Findings(transform.file)
    changed = {
        key: value
        for key, value in result.items()
        if key not in given or _bytes(value) != _bytes(given[key])
    }
    wanted: Fields = {}
    for key, value in changed.items():
        if key in settable:
            wanted[key] = value
        elif key in given:
            found.add(key, "cannot be changed; give it as it is, or leave it out")
        else:
            found.unknown(key, "field", key, sorted(settable))
    if wanted:
        resource.set.checked(found, "", wanted)
    if found.count:
        complaint, *_ = found.complaints
        raise _wrong(transform, where, f"gives {complaint.key}: {complaint.what}")
    return wanted


def _wrong(transform: Transform, where: str, what: str) -> ItemError:
    function = f"{Path(transform.file).name}:{transform.function}"
    return ItemError(f"{function} {what}", f"it gave that for {where}; correct it, {_AGAIN}")


def _copied(fields: Fields) -> Fields:
    return orjson.loads(orjson.dumps(fields))  # type: ignore[no-any-return]


def _bytes(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _clean(text: str, kept: str = "") -> str:
    return "".join(char if char.isprintable() or char in kept else "?" for char in text)


def _leave_ours_out(told: TracebackException, folder: Path) -> None:
    """Keep the frames of what lies in `folder`, of an error and of those that it came of."""
    every = [told]
    for each in every:
        each.stack[:] = [frame for frame in each.stack if Path(frame.filename).parent == folder]
        every += [one for one in (each.__cause__, each.__context__) if one is not None]
        every += each.exceptions or ()


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Lets what is loaded import what lies in `folder`; no trace of that is left behind."""
    known, paths, unwritten = {*sys.modules}, [*sys.path], sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = paths
        sys.dont_write_bytecode = unwritten
        new = sys.modules.keys() - known
        ours = {name for name in new if _lies_in(folder, sys.modules[name])}
        for name in new:
            if name.partition(".")[0] in ours:
                del sys.modules[name]


def _lies_in(folder: Path, module: ModuleType) -> bool:
    places = getattr(module, "__path__", None) or [getattr(module, "__file__", None) or ""]
    return any(Path(place).parent == folder for place in places)
