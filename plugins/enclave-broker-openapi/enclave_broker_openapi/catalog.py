"""All tools of a document, and what became of each of its operations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .compiling import Compiled, Compiler
from .config import OpenapiConfig
from .document import Document
from .naming import own_name, tool_names
from .operations import Broken, Operation, read_operations
from .problems import DocumentError, OperationError, shown
from .selecting import Selector

_log = logging.getLogger(__name__)

_MOST_NOTES = 1000


@dataclass(frozen=True, slots=True)
class Note:
    """Something of an operation that is not as it should be; there is a tool all the same."""

    key: str
    said: str


@dataclass(frozen=True)
class Outcome:
    """What became of a document: each operation is in ``made``, ``broken`` or ``left_out``.

    ``left_out`` are those that the configuration's filters leave out, ``notes`` warnings, and
    ``unused`` is what the configuration says of what the document has not.
    """

    version: str
    title: str
    made: Sequence[Compiled]
    broken: Sequence[Broken]
    left_out: Sequence[str] = ()
    notes: Sequence[Note] = ()
    unused: Sequence[str] = field(default_factory=list)


def make_catalog(
    document: Document, config: OpenapiConfig, refused: Callable[[str], str | None]
) -> Outcome:
    """Compile a document. DocumentError when it has more operations than it may."""
    selector = Selector(config.include, config.exclude)
    broken: list[Broken] = []
    left_out: list[str] = []
    chosen: dict[str, Operation] = {}
    wanted: dict[str, str] = {}
    used: set[str] = set()
    for number, found in enumerate(read_operations(document)):
        if number >= config.max_operations:
            raise DocumentError(f"it has more than {config.max_operations} operations")
        if isinstance(found, Broken):
            broken.append(found)
            continue
        name = _renamed(found, config.rename, used)
        if not selector.wants(found, name):
            left_out.append(found.key)
            continue
        chosen[found.key] = found
        wanted[found.key] = name
    notes: list[Note] = []
    made: list[Compiled] = []
    compiler = Compiler(document, config, refused)
    for key, name in tool_names(config.name, wanted).items():
        operation = chosen[key]

        def doubtful(said: str, key: str = key) -> None:
            if len(notes) < _MOST_NOTES:
                notes.append(Note(key, said))

        try:
            made.append(compiler.compile(operation, name, doubtful))
        except OperationError as problem:
            broken.append(Broken(key, str(problem), operation.id))
        except DocumentError:
            raise
        except Exception as problem:
            # One operation that nobody thought of is no reason to be without the others.
            _log.exception("%s: %s could not be compiled", config.name, key)
            broken.append(Broken(key, f"it can't be understood: {type(problem).__name__}"))
    unused = compiler.unused() if made else []
    unknown = sorted(config.rename.keys() - used)
    return Outcome(
        version=document.version,
        title=_title(document),
        made=made,
        broken=broken,
        left_out=left_out,
        notes=list(dict.fromkeys(notes)),
        unused=[*(f"rename: there is no operation {shown(one)}" for one in unknown), *unused],
    )


def _renamed(operation: Operation, rename: Mapping[str, str], used: set[str]) -> str:
    for key in (operation.id, operation.key):
        if key is not None and key in rename:
            used.add(key)
            return own_name(rename[key], operation.method, operation.path)
    return own_name(operation.id, operation.method, operation.path)


def _title(document: Document) -> str:
    info = document.root.get("info")
    title = info.get("title") if isinstance(info, dict) else None
    return title[:200] if isinstance(title, str) else ""
