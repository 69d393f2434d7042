"""Makes a tool's description and request plan of one operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from enclave_broker_core.models import ToolSpec

from .answers import Answers
from .bodies import Body, read_body
from .config import OpenapiConfig
from .converting import FILE, Schema
from .credentials import secret_names
from .document import Document
from .keywords import cut, short_ones
from .naming import named_arguments
from .operations import IDEMPOTENT, READING, Operation
from .parameters import Parameter, read_parameters
from .problems import DocumentError, OperationError, shown
from .requests import PathTemplate, RequestPlan, split_path
from .schemas import FILE_SCHEMA, Schemas
from .security import Choice, Security, Use
from .servers import server_of
from .swagger import body_of_2, responses_of_2

LONGEST_DESCRIPTION = 4000
# Of all operations together: those of a path count for each of its operations.
MOST_PARAMETERS = 500_000
_NOTHING: Mapping[str, Any] = MappingProxyType({})

Doubtful = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a tool is made of. ``key`` is its operation, as ``GET /pets/{id}``."""

    key: str
    operation_id: str | None
    spec: ToolSpec
    plan: RequestPlan
    uses: tuple[Use, ...]


class Compiler:
    """Compiles the operations of one document as the configuration wants them.

    ``refused`` says of a server's URL why no request may go there, or None.
    """

    def __init__(
        self,
        document: Document,
        config: OpenapiConfig,
        refused: Callable[[str], str | None],
    ) -> None:
        self._document = document
        self._config = config
        self._refused = refused
        self._security = Security(document, config.auth)
        self._doubtful: Doubtful = _ignore
        self._schemas = Schemas(document, "request", self._doubt)
        self._forms = Schemas(document, "form", self._doubt)
        self._results = Schemas(document, "response", self._doubt)
        self._headers = config.header_uses
        self._parameters = 0
        self._used: set[str] = set()

    def _doubt(self, what: str) -> None:
        self._doubtful(what)

    def unused(self) -> list[str]:
        """What the configuration says of something that no operation has."""
        arguments = self._config.arguments.keys() - self._used
        lines = [f"arguments: no operation has {shown(name)}" for name in sorted(arguments)]
        return lines + [
            f"auth: the document has no security scheme {shown(name)}"
            for name in self._security.unknown()
        ]

    def compile(self, operation: Operation, name: str, doubtful: Doubtful) -> Compiled:
        """The tool; OperationError when there can be none. ``doubtful`` takes warnings."""
        self._doubtful = doubtful
        document = self._document
        server = self._server(operation)
        choice = self._credentials(operation)
        answers = self._answers(operation)
        body = self._body(operation)
        template = split_path(operation.path)
        parameters = read_parameters(
            document,
            [*self._shared(operation), (operation.node.get("parameters"), operation.base)],
            doubtful,
        )
        self._parameters += len(parameters)
        if self._parameters > MOST_PARAMETERS:
            raise DocumentError(f"its operations have more than {MOST_PARAMETERS} parameters")
        parameters = self._placed(parameters, template)
        parameters = [one for one in parameters if not self._is_credential(one, choice)]
        parameters = named_arguments(parameters, body=body is not None)
        schema, fixed = self._arguments(parameters, body)
        # The document's nodes are not kept by what is made of them.
        parameters = [replace(one, schema=None, about=_NOTHING) for one in parameters]
        body = None if body is None else replace(body, schema=None)
        in_path = {one.name: one for one in parameters if one.location == "path"}
        plan = RequestPlan(
            method=operation.method,
            server=server,
            pieces=tuple(
                piece
                for text, place in template.pieces
                for piece in (text, in_path[place] if place else "")
                if piece
            ),
            query=template.query,
            parameters=tuple(one for one in parameters if one.location != "path"),
            body=body,
            headers=(("Accept", answers.accept()),),
            fixed=fixed,
            idempotent=operation.method in IDEMPOTENT,
            header_lines=self._config.header_lists == "lines",
        )
        uses = (*self._headers, *choice.uses)
        secrets = secret_names(use.credential for use in uses)
        return Compiled(
            operation.key,
            operation.id,
            self._spec(operation, name, schema, answers, secrets),
            plan,
            uses,
        )

    def _server(self, operation: Operation) -> str:
        layers = [
            operation.node.get("servers"),
            operation.nearest("servers"),
            self._document.root.get("servers"),
        ]
        config = self._config
        server = server_of(
            self._document, layers, config.server_variables, config.server, operation.node
        )
        refused = self._refused(server)
        if refused is not None:
            raise OperationError(refused)
        return server

    def _credentials(self, operation: Operation) -> Choice:
        requirements = operation.node.get("security", self._document.root.get("security"))
        choice = self._security.choose(requirements)
        if choice.missing is not None:
            self._doubtful(f"it wants {choice.missing}, for which no credentials are configured")
        return choice

    def _answers(self, operation: Operation) -> Answers:
        responses = operation.node.get("responses")
        if self._document.version == "2.0":
            responses = responses_of_2(self._followed(responses, operation), self._types(operation))
        return Answers(self._document, responses, operation.base)

    def _followed(self, responses: Any, operation: Operation) -> Any:
        """The responses of Swagger 2.0, references among them followed: they get media types."""
        if not isinstance(responses, dict):
            return responses
        found = {}
        for status, node in responses.items():
            try:
                found[status] = self._document.followed(node, operation.base)[0]
            except OperationError:
                continue
        return found

    def _types(self, operation: Operation, key: str = "produces") -> list[str]:
        found = operation.node.get(key, self._document.root.get(key))
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

    def _body(self, operation: Operation) -> Body | None:
        document = self._document
        if document.version != "2.0":
            return read_body(document, operation.node.get("requestBody"), operation.base)
        given: dict[tuple[str, str], tuple[Mapping[str, Any], str]] = {}
        lists = [*self._shared(operation), (operation.node.get("parameters"), operation.base)]
        for nodes, base in lists:
            for node in nodes if isinstance(nodes, list) else ():
                found, at = document.object_at(node, base, "a parameter")
                given[str(found.get("in")), str(found.get("name"))] = found, at
        made = body_of_2(list(given.values()), self._types(operation, "consumes"))
        return None if made is None else read_body(document, *made)

    def _shared(self, operation: Operation) -> list[tuple[Any, str]]:
        """The parameters of the path, the farthest first."""
        return [(layer.get("parameters"), base) for layer, base in reversed(operation.around)]

    def _placed(self, parameters: list[Parameter], template: PathTemplate) -> list[Parameter]:
        """Those in the path as they stand there: one that is not described is a text."""
        in_path = list(dict.fromkeys(place for _, place in template.pieces if place))
        kept = []
        for one in parameters:
            if one.location == "path" and one.name in template.in_query:
                key = template.in_query[one.name]
                kept.append(replace(one, location="query", name=key, style="form"))
            elif one.location == "path" and one.name not in in_path:
                self._doubtful(f"the parameter {shown(one.name)} has no place in its path")
            else:
                kept.append(one)
        described = {(one.location, one.name) for one in kept}
        places = [("path", "simple", place) for place in in_path]
        places += [("query", "form", key) for key in template.in_query.values()]
        for location, style, name in places:
            if (location, name) not in described:
                self._doubtful(f"nothing describes {{{name}}} in its path: it is taken as a text")
                text, base = {"type": "string"}, self._document.base
                kept.append(Parameter(name, location, True, style, False, text, base))
        return kept

    def _is_credential(self, parameter: Parameter, choice: Choice) -> bool:
        """Whether the source itself sends what the parameter is for."""
        if parameter.location == "header":
            uses = [use for use in (*self._headers, *choice.uses) if use.place == "header"]
            return parameter.name.lower() in {use.name.lower() for use in uses}
        return any(
            (use.place, use.name) == (parameter.location, parameter.name) for use in choice.uses
        )

    def _arguments(
        self, parameters: list[Parameter], body: Body | None
    ) -> tuple[Schema, dict[str, Any]]:
        """The schema of the arguments, and what is sent without having been given."""
        properties: Schema = {}
        required: list[str] = []
        fixed: dict[str, Any] = {}
        names: set[str] = set()
        given = self._config.arguments
        for one in parameters:
            if one.name in given:
                self._used.add(one.name)
                fixed[one.argument] = given[one.name]
                continue
            converted = self._schemas.convert(one.schema, one.base)
            names |= converted.names
            properties[one.argument] = made = _described(converted.schema, one.about)
            if one.location == "path" and made.get("type") == "string":
                made["minLength"] = max(1, made.get("minLength", 1))
            if one.required and "default" in made:
                fixed[one.argument] = made["default"]
            elif one.required:
                required.append(one.argument)
        definitions = dict(self._schemas.definitions(frozenset(names))) if names else {}
        if body is not None:
            if "body" in given:
                self._used.add("body")
                fixed["body"] = given["body"]
            else:
                made, more = self._body_schema(body)
                properties["body"] = _described(made, {"description": body.description})
                definitions = {**definitions, **more} if definitions else more
                required += ["body"] if body.required else []
        schema: Schema = {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
        if not required:
            del schema["required"]
        if definitions:
            schema["$defs"] = definitions
        return schema, fixed

    def _body_schema(self, body: Body) -> tuple[Any, dict[str, Any]]:
        if body.kind == "bytes":
            return {"$ref": f"#/$defs/{FILE}"}, {FILE: FILE_SCHEMA}
        if body.kind == "text" and "xml" in body.media_type:
            return {"type": "string", "title": "XML"}, {}
        form = body.kind in ("form", "multipart")
        schemas = self._forms if form else self._schemas
        converted = schemas.convert({} if body.schema is None else body.schema, body.base)
        made = converted.schema
        if isinstance(made, dict):
            if body.kind == "text" and "type" not in made and "$ref" not in made:
                made = {**made, "type": "string"}
            elif form and "type" not in made:
                made = {**made, "type": "object"}
        return made, schemas.definitions(converted.names)

    def _spec(
        self,
        operation: Operation,
        name: str,
        schema: Schema,
        answers: Answers,
        secrets: tuple[str, ...],
    ) -> ToolSpec:
        try:
            output = answers.schema(self._results)
        except OperationError as problem:
            self._doubtful(f"what it answers is not described: {problem}")
            output = None
        return ToolSpec(
            name=name,
            description=self._about(operation),
            input_schema=schema,
            output_schema=output,
            tags=operation.tags,
            deprecated=operation.node.get("deprecated") is True,
            read_only=operation.method in READING,
            idempotent=operation.method in IDEMPOTENT,
            timeout=self._config.timeout,
            secrets=secrets,
            source=self._config.name,
        )

    def _about(self, operation: Operation) -> str:
        summary, description = operation.text("summary"), operation.text("description")
        texts = {
            "{summary}": summary,
            "{description}": "" if description == summary else description,
            "{method}": operation.method,
            "{path}": operation.path,
            "{operation}": operation.id or operation.key,
            "{tags}": ", ".join(sorted(operation.tags)),
        }
        made = self._config.description
        for place, text in texts.items():
            made = made.replace(place, text)
        return cut(made, LONGEST_DESCRIPTION) or operation.key


def _ignore(what: str) -> None:
    """Before the first operation there is nobody to tell."""


def _described(schema: Any, about: Mapping[str, Any]) -> Any:
    """The schema with what its parameter says of it: a text, examples, that it is old."""
    made = dict(schema) if isinstance(schema, dict) else ({} if schema is True else {"not": {}})
    if isinstance(about.get("description"), str) and about["description"].strip():
        made["description"] = cut(about["description"])
    if about.get("deprecated") is True:
        made["deprecated"] = True
    examples = [about["example"]] if "example" in about else []
    if isinstance(about.get("examples"), dict):
        nodes = about["examples"].values()
        examples += [one["value"] for one in nodes if isinstance(one, dict) and "value" in one]
    if short := short_ones(examples):
        made["examples"] = short
    return made
