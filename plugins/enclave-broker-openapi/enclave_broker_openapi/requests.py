"""Makes a request of an operation and its validated arguments: no input, no output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from enclave_broker_network.messages import OutboundRequest

from .authorising import Shown
from .bodies import Body
from .encoding import encode
from .parameters import Parameter
from .problems import OperationError
from .servers import URL_CHARACTERS
from .styles import in_cookie, in_header, in_path, in_query, whole_query, wrong

_PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """All that is settled of the requests of one operation before there are arguments.

    ``pieces`` are the path's literal texts, encoded, with its parameters between them.
    ``fixed`` are values of parameters that no caller gives, by argument.
    """

    method: str
    server: str
    pieces: tuple[str | Parameter, ...]
    query: str
    parameters: tuple[Parameter, ...]
    body: Body | None
    headers: tuple[tuple[str, str], ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    idempotent: bool = False
    header_lines: bool = False

    def request(self, arguments: Mapping[str, Any], credentials: Shown) -> OutboundRequest:
        """The request; ArgumentsError for arguments that have no place in it."""
        if self.fixed:
            arguments = {**self.fixed, **arguments}
        query = [self.query] if self.query else []
        headers = list(self.headers)
        cookies: list[str] = []
        for parameter in self.parameters:
            if parameter.argument not in arguments:
                continue
            value = arguments[parameter.argument]
            if parameter.location == "query":
                query += in_query(parameter, value)
            elif parameter.location == "header":
                if self.header_lines and isinstance(value, list):
                    texts = [in_header(parameter, item) for item in value]
                else:
                    texts = [in_header(parameter, value)]
                headers += [(parameter.name, text) for text in texts if text is not None]
            elif parameter.location == "cookie":
                cookies += in_cookie(parameter, value)
            else:
                query.append(whole_query(parameter, value))
        query += credentials.query
        cookies += credentials.cookies
        # What the source's credentials say goes over what anybody else does.
        names = {name.lower() for name, _ in credentials.headers}
        headers = [pair for pair in headers if pair[0].lower() not in names]
        headers += credentials.headers
        if cookies:
            headers.append(("Cookie", "; ".join(cookies)))
        content = None
        if self.body is not None and "body" in arguments:
            encoded = encode(self.body, arguments["body"])
            content = encoded.content
            headers.append(("Content-Type", encoded.content_type))
        path = self._path(arguments)
        url = f"{self.server}{path}?{'&'.join(query)}" if query else f"{self.server}{path}"
        return OutboundRequest(self.method, url, tuple(headers), content, self.idempotent)

    def _path(self, arguments: Mapping[str, Any]) -> str:
        return "".join(
            piece if isinstance(piece, str) else _filled(piece, arguments) for piece in self.pieces
        )


def _filled(parameter: Parameter, arguments: Mapping[str, Any]) -> str:
    if parameter.argument not in arguments:
        raise wrong(parameter.argument, "it is not given")
    return in_path(parameter, arguments[parameter.argument])


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A path taken apart: ``pieces`` are literal texts, encoded, each with the name of the place
    behind it, the last one empty. Some documents write a query after it: ``query`` is what is
    always sent, ``in_query`` the places in it, by the key that they belong to.
    """

    pieces: tuple[tuple[str, str], ...]
    query: str = ""
    in_query: Mapping[str, str] = field(default_factory=dict)


def split_path(path: str) -> PathTemplate:
    """Take a path apart; OperationError for one that can't be filled in."""
    # What stands behind a '#' tells operations of one path apart and is not sent.
    plain, _, query = path.partition("#")[0].partition("?")
    pieces: list[tuple[str, str]] = []
    end = 0
    for match in _PLACE.finditer(plain):
        # Some write it as RFC 6570 has it; the parameter's style says what is meant.
        pieces.append((_literal(plain[end : match.start()]), match[1].strip("+*")))
        end = match.end()
    pieces.append((_literal(plain[end:]), ""))
    fixed: list[str] = []
    places: dict[str, str] = {}
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if place := _PLACE.fullmatch(value):
            places[place[1]] = key
        elif _PLACE.search(part):
            raise OperationError("a part of its query is to be filled in, which no parameter can")
        else:
            fixed.append(quote(part, safe=URL_CHARACTERS))
    return PathTemplate(tuple(pieces), "&".join(filter(None, fixed)), places)


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise OperationError("its path has a brace without the other")
    return quote(text, safe="%/:@!$&'()*+,;=~-._")
