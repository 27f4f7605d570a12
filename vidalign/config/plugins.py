"""Plug-ins: modules or .py files that register further names before the config is checked."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path

from vidalign.common.errors import UserError
from vidalign.common.paths import missing
from vidalign.config.problems import Problem

# A plug-in is foreign code: these are the ways in which running a module's top level fails.
_FAILURES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, OSError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, UserError),
)


def import_plugins(names: list[str], place: str | None) -> list[Problem]:
    """Import each plug-in; one mistake per plug-in that cannot be imported. `place`: where the YAML names them."""
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # console scripts leave the working folder out; `python -m` puts it in
    problems = []
    for name in names:
        text = _import(name)
        if text:
            problems.append(Problem(place or "--plugins", "plugins", text, name))
    return problems


def _import(name: str) -> str | None:
    """Import one plug-in; the sentence that says why it failed, None when all is well."""
    module = name
    if name.endswith(".py") or os.sep in name:
        path = Path(name).resolve()
        if not path.is_file():
            return f"{missing(name) or 'a .py file is wanted.'} Correct the path."
        module, sentence = _module_name(path)
        if sentence:
            return sentence
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            return f"there is no module {error.name!r}. Correct the name, give the path of a .py file, or install it."
        return _failure(error)
    except _FAILURES as error:
        return _failure(error)
    return None


def _module_name(path: Path) -> tuple[str, str | None]:
    """Make a .py file importable by its own name, so that loader workers find its classes too."""
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    loaded = sys.modules.get(path.stem)
    spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(path.stem)
    origin = getattr(spec, "origin", None)
    if origin and Path(origin).resolve() == path:
        return path.stem, None
    return path.stem, f"another module is called {path.stem!r} ({origin}). Rename the plug-in file."


def _failure(error: Exception) -> str:
    """Where and why a plug-in failed: its last own line, then the error."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "importlib" not in one.filename]
    own = [one for one in frames if not one.filename.startswith(os.path.dirname(__file__))]
    line = f"{own[-1].filename}:{own[-1].lineno}: " if own else ""
    if isinstance(error, SyntaxError):
        line = f"{error.filename}:{error.lineno}: "
    return f"the plug-in fails: {line}{type(error).__name__}: {error}. Mend the plug-in or leave it out."
