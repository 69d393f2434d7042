"""One request as it is described: settled once, and filled in for each call."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from enclave_broker_network.errors import RefusedError
from enclave_broker_network.fields import header_value, may_set
from enclave_broker_network.messages import IDEMPOTENT_METHODS, SAFE_METHODS, OutboundRequest
from enclave_broker_network.urls import parse_url

from enclave_broker_core.errors import ArgumentsError, SecretError
from enclave_broker_core.models import ToolSpec

from .arguments import Checked, schema_of
from .bodies import JsonBody
from .requests import Basic, Bearer, RequestConfig, SourceConfig, Value, as_text
from .results import result_maker
from .texts import ALL_OTHERS, MISSING, Text, Values
from .uri_template import UriTemplate, keep_in_place

# The host is the operator's: no argument comes before the path.
_ORIGIN = re.compile(r"(https?://[^/?#{}]+)(?:[/?]|\{[/?]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Filled:
    """A request that can be sent. ``hidden`` are texts in it that nobody may see."""

    request: OutboundRequest
    hidden: frozenset[str]


class RequestShape:
    """A request with its places.

    ValueError, and ConfigError for its schema, say what is wrong with its description.
    """

    def __init__(self, source: SourceConfig, config: RequestConfig) -> None:
        self.config = config
        self.retries = config.retries or source.retries
        self.result = result_maker(config.result, config.read)
        self._url = UriTemplate(_joined(source.base_url, config.url))
        self.origin = _origin(self._url)
        self._query = _texts({**source.query, **config.query})
        self._headers = _texts(_with_own(source.headers, config.headers))
        auth = source.auth if config.auth is None else config.auth
        self._auth = _Auth(auth) if auth else None
        self._body = None if config.body is None else config.body.maker()
        self._check_places()
        _check_headers(self._headers, with_auth=self._auth is not None)
        self._names = frozenset(self._argument_names())
        self.schema = self._described()
        self.checked = Checked(config.name, self.schema)
        self._check_arguments(self.schema)
        self.secrets = tuple(dict.fromkeys(self._secret_names()))

    def spec(self, source: str) -> ToolSpec:
        """What the broker knows of the tool."""
        config, method = self.config, self.config.method
        read_only, idempotent = method in SAFE_METHODS, method in IDEMPOTENT_METHODS
        return ToolSpec(
            name=config.name,
            description=config.description,
            input_schema=self.schema,
            output_schema=config.output_schema,
            tags=config.tags,
            deprecated=config.deprecated,
            read_only=read_only if config.read_only is None else config.read_only,
            idempotent=idempotent if config.idempotent is None else config.idempotent,
            timeout=config.timeout,
            rate_limit=config.rate_limit,
            requires_auth=config.requires_auth,
            secrets=self.secrets,
            source=source,
        )

    def fill(self, arguments: Mapping[str, Any], secret: Callable[[str], str]) -> Filled:
        """The request for these arguments. ArgumentsError for those that can't stand in it."""
        values = Values(arguments, self._names, secret)
        headers = list(self._filled_headers(values))
        body = None if self._body is None else self._body.make(values)
        if body is not None and self.config.body is not None:
            headers.append(("Content-Type", self.config.body.content_type or body.content_type))
        request = OutboundRequest(
            self.config.method,
            self._filled_url(arguments, values),
            tuple(headers),
            None if body is None else body.content,
            idempotent=self.config.idempotent,
        )
        return Filled(request, frozenset(values.secrets))

    def _filled_url(self, arguments: Mapping[str, Any], values: Values) -> str:
        url = self._url.expand(arguments, keep_in_place)
        pairs = [
            f"{quote(name, safe='')}={quote(value, safe='')}"
            for name, text in self._query.items()
            for value in text.texts(values)
        ]
        if pairs:
            url += ("&" if "?" in url else "?") + "&".join(pairs)
        try:
            parse_url(url)
        except RefusedError as problem:
            raise ArgumentsError(
                f"the arguments of {self.config.name} make no URL: {problem.message}"
            ) from None
        return url

    def _filled_headers(self, values: Values) -> Iterator[tuple[str, str]]:
        for name, text in self._headers.items():
            value = text.text(values, _in_header)
            if value is not MISSING:
                yield name, _sendable(name, value)
        if self._auth is not None:
            yield "Authorization", _sendable("Authorization", self._auth.value(values))

    # What the description is made of

    def _places(self) -> Iterator[Text]:
        yield from self._query.values()
        yield from self._headers.values()
        if self._body is not None:
            yield from self._body.places()

    def _check_places(self) -> None:
        for text in (*self._query.values(), *self._headers.values()):
            if ALL_OTHERS in text.arguments:
                raise ValueError("{*} is an object: it can't stand in a query or a header")
        for text in () if self._body is None else self._body.places():
            alone = text.only == ALL_OTHERS and isinstance(self._body, JsonBody)
            if ALL_OTHERS in text.arguments and not alone:
                raise ValueError("{*} is an object: in a body it stands alone, in json")
        try:
            parse_url(self._url.expand(dict.fromkeys(self._url_names(), "x")))
        except RefusedError as problem:
            raise ValueError(problem.message) from None

    def _url_names(self) -> Iterator[str]:
        for expression in self._url.expressions:
            yield from (variable.name for variable in expression.variables)

    def _argument_names(self) -> Iterator[str]:
        yield from self._url_names()
        for text in self._places():
            yield from text.arguments

    def _secret_names(self) -> Iterator[str]:
        for text in (*self._places(), *(self._auth.texts if self._auth else ())):
            yield from text.secrets

    def _described(self) -> dict[str, Any]:
        given = self.config.arguments
        if given is None:
            return schema_of(self.config.parameters or {})
        schema = {"type": "object", **given}
        if schema["type"] != "object":
            raise ValueError("the arguments are an object: their schema has no other type")
        return schema

    def _check_arguments(self, schema: dict[str, Any]) -> None:
        known = schema.get("properties", {})
        needed = {*schema.get("required", ()), *self.checked.defaults}
        if schema.get("additionalProperties") is False:
            for name in sorted(self._names - known.keys() - {ALL_OTHERS}):
                raise ValueError(f"the argument {name!r} has a place, and is no parameter")
        if ALL_OTHERS not in self._names:
            for name in sorted(known.keys() - self._names):
                raise ValueError(f"the parameter {name!r} has no place in the request")
        for expression in self._url.expressions:
            for variable in expression.variables:
                in_path = not expression.in_query and expression.operator in ("", "+")
                if in_path and variable.name not in needed:
                    raise ValueError(
                        f"the argument {variable.name!r} is in the path and may be left out:"
                        f" it must be required, or written {{/{variable.name}}}"
                    )


class _Auth:
    """The header ``Authorization``."""

    def __init__(self, config: Bearer | Basic) -> None:
        self._basic = isinstance(config, Basic)
        said = (config.token,) if isinstance(config, Bearer) else (config.username, config.password)
        self.texts = [Text(one) for one in said]
        for text in self.texts:
            for name in text.arguments:
                raise ValueError(f"auth can't have the argument {name!r}: it is for secrets")

    def value(self, values: Values) -> str:
        texts = [str(text.text(values)) for text in self.texts]
        if not self._basic:
            return f"Bearer {texts[0]}"
        packed = base64.b64encode(":".join(texts).encode()).decode()
        values.secrets.add(packed)
        return f"Basic {packed}"


def _joined(base_url: str, url: str) -> str:
    if re.match(r"https?://", url, re.IGNORECASE):
        return url
    if not base_url:
        raise ValueError("the url is not a whole one, and there is no base_url")
    if "?" in base_url:
        raise ValueError("base_url has no query; the source's own query holds for all requests")
    if url and url[0] not in "/?{":
        raise ValueError("a url behind base_url begins with '/', '?' or '{'")
    return (base_url.rstrip("/") if url.startswith(("/", "{/")) else base_url) + url


def _origin(template: UriTemplate) -> str:
    found = _ORIGIN.match(template.text)
    if found is None:
        raise ValueError("the url must begin with http:// or https:// and a host without places")
    if "#" in template.text:
        raise ValueError("the url has a '#': what follows it is never sent")
    try:
        return str(parse_url(found[1]).origin)
    except RefusedError as problem:
        raise ValueError(problem.message) from None


def _with_own(common: Mapping[str, Value], own: Mapping[str, Value]) -> dict[str, Value]:
    """The headers of the source, but for those that the request has itself."""
    names = {name.lower() for name in own}
    return {name: value for name, value in common.items() if name.lower() not in names} | {**own}


def _texts(given: Mapping[str, Value]) -> dict[str, Text]:
    return {name: Text(as_text(value)) for name, value in given.items()}


def _check_headers(headers: Mapping[str, Text], *, with_auth: bool) -> None:
    seen = {"authorization"} if with_auth else set()
    for name, text in headers.items():
        if not may_set(name):
            raise ValueError(f"the header {name!r} can't be set")
        if name.lower() == "content-type":
            raise ValueError("the body has a content_type; it is not set as a header")
        if name.lower() in seen:
            raise ValueError(f"the header {name!r} is there twice")
        seen.add(name.lower())
        if not text.literal.isascii() or not text.literal.isprintable():
            raise ValueError(f"the header {name!r} has characters that can't be sent")


def _in_header(text: str, argument: str) -> str:
    return header_value(text, argument=argument)


def _sendable(name: str, value: str) -> str:
    # The arguments in it have been looked at: what is wrong now is a secret.
    try:
        return header_value(value, argument=name)
    except ArgumentsError:
        raise SecretError(f"what is in the header {name} can't be sent in one") from None
