"""The page with every error code, made of the errors' classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from enclave_broker_cli.exits import exit_code
from enclave_broker_server.answers import HttpError

from enclave_broker_core.errors import BrokerError

ROOT = Path(__file__).parents[1]
START = """# Every error code

An error has a `code` that stays as it is, a `message` for people, and for some `details`. In
Python it is the class; over HTTP, in events and in the answer of a call it is the code. All are
below `BrokerError`, and below a base for what they are about: `CallError` one call, `SessionError`
a session.

- *over HTTP* is what a request is answered with that ends so. What fails in a call is
  [no error of the request](../wire.md#refusals) that made it. The server's own codes are told there
  too.
- *exit* is the [exit code](../cli.md#exit-codes) of `enclave-broker`.
- *again*: the same may go well later.
"""


def page() -> str:
    """The page as Markdown."""
    return START + "\n".join(_lines()) + "\n"


def error_classes() -> dict[str, list[type[BrokerError]]]:
    """All errors that can be met, by their distribution, in the order of their codes."""
    found: dict[str, list[type[BrokerError]]] = {}
    for module in _modules():
        for kind in vars(import_module(module)).values():
            if (
                isinstance(kind, type)
                and issubclass(kind, BrokerError)
                and kind.__module__ == module
                and not kind.__name__.startswith("_")
            ):
                package = module.partition(".")[0].replace("_", "-")
                found.setdefault(package, []).append(kind)
    return {
        package: sorted(kinds, key=lambda kind: (kind.code, kind.__name__))
        for package, kinds in found.items()
    }


def _modules() -> Iterator[str]:
    """The modules in which a class is that is called an error."""
    packages = [ROOT / "enclave_broker_core", *sorted(ROOT.glob("plugins/*/enclave_broker_*"))]
    for package in packages:
        for path in sorted(package.rglob("*.py")):
            inside = path.relative_to(package.parent).with_suffix("")
            if "testing" in inside.parts or "templates" in inside.parts:
                continue
            if re.search(r"^class \w+Error\(", path.read_text(), re.MULTILINE):
                yield ".".join(inside.parts).removesuffix(".__init__")


def _lines() -> Iterator[str]:
    for distribution, kinds in error_classes().items():
        yield from ("", f"## {distribution}", "")
        yield "| code, class | what it says | over HTTP | exit | again |"
        yield "|---|---|---|---|---|"
        for kind in kinds:
            if kind.code == BrokerError.code and kind is not BrokerError:
                continue  # what others have in common
            told = " ".join((kind.__doc__ or "").partition("\n\n")[0].split()).replace("``", "`")
            again = "yes" if kind.retryable else ""
            yield (
                f"| `{kind.code}`<br>`{kind.__name__}` | {told} | {_over_http(kind)}"
                f" | {exit_code(kind.code)} | {again} |"
            )


def _over_http(kind: type[BrokerError]) -> str:
    """The status and the code; nothing for what no request ends with."""
    error = kind.__new__(kind)
    BrokerError.__init__(error, "told")
    answer = HttpError.of(error)
    return f"{answer.status}<br>`{answer.code}`" if answer.message == "told" else ""
