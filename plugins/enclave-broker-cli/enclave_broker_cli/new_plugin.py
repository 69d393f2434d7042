"""``enclave-broker new-plugin``: a plugin that works, to go on from."""

from __future__ import annotations

import keyword
import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import InvalidName, canonicalize_name

from enclave_broker_core.build import load_plugins
from enclave_broker_core.distributions import KNOWN_DISTRIBUTIONS
from enclave_broker_core.mistakes import choices

from .options import JsonOption
from .plugin_template import KINDS, PREFIX, Names, files_of
from .reporting import put_json
from .terminal import harmless

# What the lines of the templates have room for, without the prefix.
LONGEST_NAME = 28

# What a package can't be called: its tests are there, and what git and builders leave out.
OTHER_FOLDERS = frozenset({"tests", "build", "dist"})

# The kinds that the core has another key for.
HOOKED: Mapping[str, str] = {"provider": "tools", "policy": "access"}


def kind_names(incomplete: str) -> list[tuple[str, str]]:
    return [(kind, f"{what}.") for kind, what in KINDS.items() if kind.startswith(incomplete)]


def new_plugin(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="The distribution, as pip is to know it."),
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            autocompletion=kind_names,
            help=f"What it brings: {', '.join(KINDS)}.",
        ),
    ],
    use: Annotated[
        str | None,
        typer.Option(
            "--use",
            metavar="NAME",
            help=f"The part's name in a configuration; else NAME without {PREFIX}.",
        ),
    ] = None,
    into: Annotated[
        Path,
        typer.Option("--into", metavar="DIR", help="Where its folder is made; else here."),
    ] = Path(),
    license: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="SPDX",
            help="Your licence, such as MIT; else nothing says which it is.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a new plugin, in a folder of its own.

    It is a small one that works: it installs, passes the suite of its kind, type-checks and
    lints as it stands. Nothing that is there already is changed.
    """
    if kind not in KINDS:
        raise _wrong("--kind", f"there is no kind {kind!r}; {choices(kind, KINDS)}")
    names = Names.of(_distribution(name), use and _name(use, "--use"))
    _require_free(kind, names.component, "--use" if use else "NAME")
    folder = into / names.distribution
    files = files_of(kind, names, license and _license(license))
    write(folder, files)
    if json:
        put_json(_shown(folder, kind, names, files))
    else:
        sys.stdout.writelines(f"{harmless(line)}\n" for line in _told(folder, kind, names, license))


def _name(text: str, option: str) -> str:
    """A name as package indexes write it: they take ``My_Plugin`` for ``my-plugin``."""
    try:
        name = canonicalize_name(text, validate=True)
    except InvalidName:
        raise _wrong(
            option,
            f"{text!r} is no name: it is of letters and digits, with single - _ . between them",
        ) from None
    own = name.removeprefix(PREFIX)
    if len(own) > LONGEST_NAME:
        raise _wrong(option, f"{own!r} has more than {LONGEST_NAME} characters")
    return name


def _distribution(text: str) -> str:
    name = _name(text, "NAME")
    package = name.replace("-", "_")
    if not package.isidentifier() or keyword.iskeyword(package):
        raise _wrong("NAME", f"Python could not import a package named {package!r}")
    if name == PREFIX.rstrip("-"):
        raise _wrong("NAME", f"{name!r} does not say what it is, as {PREFIX}hours would")
    if package in OTHER_FOLDERS:
        raise _wrong("NAME", f"{package!r} is a folder that it has for something else")
    spec = find_spec(package)
    # What has no origin is a folder that happens to have the name.
    if spec is not None and spec.origin is not None:
        raise _wrong("NAME", f"there is a module named {package!r} already")
    return name


def _require_free(kind: str, name: str, option: str) -> None:
    """A broker does not start with two plugins of a name, or two parts of a kind and a name."""
    plugins, key = load_plugins(), HOOKED.get(kind, kind)
    if any(plugin.name == name for plugin in plugins):
        raise _wrong(option, f"another plugin is named {name!r}: choose one by --use")
    if name in plugins.names(key) or (key, name) in KNOWN_DISTRIBUTIONS:
        raise _wrong(option, f"another {kind} is named {name!r}: choose one by --use")


def _license(text: str) -> str:
    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        raise _wrong(
            "--license", f"{text!r} is no SPDX expression, such as MIT or Apache-2.0"
        ) from None


def write(folder: Path, files: dict[str, str]) -> None:
    """Make the folder with the files, or nothing of it."""
    try:
        folder.mkdir()
    except FileExistsError:
        raise _wrong("NAME", f"{folder} is there already; nothing was changed") from None
    except OSError as problem:
        raise _wrong("--into", f"{folder} can't be made: {problem.strerror}") from None
    try:
        for place, text in files.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as problem:
        shutil.rmtree(folder, ignore_errors=True)
        raise _wrong("--into", f"{folder} can't be filled: {problem.strerror}") from None


def _shown(folder: Path, kind: str, names: Names, files: dict[str, str]) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "kind": kind,
        "distribution": names.distribution,
        "package": names.package,
        "use": names.component,
        "files": sorted(files),
    }


def _told(folder: Path, kind: str, names: Names, license: str | None) -> list[str]:
    lines = [
        f"{folder} is a plugin that brings a {kind}",
        f"  distribution  {names.distribution}",
        f"  package       {names.package}",
        f"  entry point   {names.component} = {names.package}",
        f'  in a file     use = "{names.component}"',
    ]
    if license is None:
        lines.append("  licence       none is named: it is for you to choose")
    return [*lines, "How to install it and to run its tests is in its README.md"]


def _wrong(option: str, message: str) -> typer.BadParameter:
    return typer.BadParameter(harmless(message), param_hint=option)
