"""Undoes the encodings of a body piece by piece, and stops where it grows too large."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from .errors import BrokenAnswerError

MOST_ENCODINGS = 2
PIECE = 64 * 1024


class Decoder(Protocol):
    """Takes a body in pieces, and gives it decoded in pieces of a bounded size."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def end(self) -> None:
        """BrokenAnswerError when more should have come."""


class _Zlib:
    """gzip with its members, and deflate as RFC 9110 has it or without its wrapping."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._inner: Any = zlib.decompressobj(31) if gzip else None
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        more = False
        while data or more:
            if data and (self._inner is None or self._inner.eof):
                self._inner = self._next(data)
            self._begun = True
            piece = self._inner.decompress(data, PIECE)
            # All may have been taken in, and not all of it come out.
            more = len(piece) == PIECE and not self._inner.eof
            data = self._inner.unconsumed_tail or self._inner.unused_data
            if piece:
                yield piece
            if self._inner.eof and not self._gzip:
                return  # nothing comes after the only stream

    def _next(self, data: bytes) -> Any:
        if self._gzip:
            return zlib.decompressobj(31)
        wrapped = data[0] & 0x0F == 8
        return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)

    def end(self) -> None:
        if self._begun and not self._inner.eof:
            raise BrokenAnswerError("the compressed answer breaks off")


class _Brotli:
    def __init__(self, decompressor: Any) -> None:
        self._inner = decompressor
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._begun = True
        piece = self._inner.process(data, output_buffer_limit=PIECE)
        while piece or not self._inner.can_accept_more_data():
            yield piece
            piece = self._inner.process(b"", output_buffer_limit=PIECE)

    def end(self) -> None:
        if self._begun and not self._inner.is_finished():
            raise BrokenAnswerError("the compressed answer breaks off")


class _Zstd:
    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._inner = make()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._inner.needs_input or self._inner.eof):
            if self._inner.eof:
                self._inner = self._make()
            self._begun = True
            piece = self._inner.decompress(data, max_length=PIECE)
            data = self._inner.unused_data if self._inner.eof else b""
            if piece:
                yield piece

    def end(self) -> None:
        if self._begun and not self._inner.eof:
            raise BrokenAnswerError("the compressed answer breaks off")


class Encodings:
    """The encodings that can be undone: gzip and deflate, and br and zstd where installed."""

    def __init__(self) -> None:
        self._known: dict[str, Callable[[], Decoder]] = {
            "gzip": lambda: _Zlib(gzip=True),
            "deflate": lambda: _Zlib(gzip=False),
        }
        self._failures: tuple[type[Exception], ...] = (zlib.error,)
        brotli = _module("brotli")
        if brotli is not None:
            self._known["br"] = lambda: _Brotli(brotli.Decompressor())
            self._failures += (brotli.error,)
        zstd = _module("compression.zstd", "backports.zstd")
        if zstd is not None:
            self._known["zstd"] = lambda: _Zstd(zstd.ZstdDecompressor)
            self._failures += (zstd.ZstdError,)
        self.accepted = ", ".join(self._known)

    def decoder(self, content_encoding: str | None) -> Body:
        """What undoes a ``Content-Encoding``. BrokenAnswerError for one that is not known."""
        names = [name.strip().lower() for name in (content_encoding or "").split(",")]
        names = [name.removeprefix("x-") for name in names if name not in ("", "identity")]
        if len(names) > MOST_ENCODINGS:
            raise BrokenAnswerError(f"the answer is encoded more than {MOST_ENCODINGS} times")
        unknown = [name for name in names if name not in self._known]
        if unknown:
            raise BrokenAnswerError(
                f"the answer has an encoding that can't be undone; {self.accepted} can"
            )
        return Body([self._known[name]() for name in reversed(names)], self._failures)


class Body:
    """The decoders of one body, one behind the other."""

    def __init__(self, decoders: Sequence[Decoder], failures: tuple[type[Exception], ...]) -> None:
        self._decoders = decoders
        self._failures = failures

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded pieces; a little is decoded at a time, as the pieces are taken."""
        try:
            yield from self._through(data, 0)
        except self._failures:
            raise BrokenAnswerError("the answer is not in the encoding that it says") from None

    def _through(self, data: bytes, at: int) -> Iterator[bytes]:
        if at == len(self._decoders):
            yield data
            return
        for piece in self._decoders[at].feed(data):
            yield from self._through(piece, at + 1)

    def end(self) -> None:
        for decoder in self._decoders:
            decoder.end()


def _module(*names: str) -> Any:
    """The first of these that there is; zstd is in the library from Python 3.14 on."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None
