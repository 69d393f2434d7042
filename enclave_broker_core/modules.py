"""Imports a Python file that is in no package."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from .errors import PluginError


def is_file(text: str) -> bool:
    """Whether a configuration means a file by this, not a module's or a plugin's name."""
    return text.endswith(".py") or "/" in text


def import_file(path: Path) -> ModuleType:
    """The module made by executing the file, anew at each call. PluginError says why not."""
    # Files of one name in different folders must not take each other's place.
    folder = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    name = f"enclave_broker_local_{path.stem}_{folder}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise PluginError(f"there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    # Needed while it is executed, by dataclasses and by pydantic's look-up of hints.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        del sys.modules[name]
        raise PluginError(
            f"{path} did not import: {type(problem).__name__}: {problem}"
        ) from problem
    return module
