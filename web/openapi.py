"""The OpenAPI 3.1 document: made of the table of operations and of the structs that they answer with."""

import ast
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from config.errors import AntiphonError, KeyRefused, NotAllowed, OriginRefused, TooMany
from web.answers import ErrorAnswer

Json = dict[str, Any]

#: Where schemas stand in the document.
REF = "#/components/schemas/{name}"

#: Where a key is wanted, these may be told instead of what was asked for.
AT_THE_DOOR: tuple[type[AntiphonError], ...] = (KeyRefused, NotAllowed, OriginRefused, TooMany)


@dataclass(frozen=True)
class Body:
    """What an operation takes or gives of one content type: a struct, or a schema where it is no JSON of ours."""

    content_type: str
    kind: Any = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    required: bool = True
    """Of what is taken: it may not be left out."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """Of a form's fields, where it is not the usual one."""
    parts: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a form that are structs."""


@dataclass(frozen=True)
class Operation:
    """One method of one address."""

    method: str
    path: str
    name: str
    """Names it for programs that are made of the document."""
    summary: str
    gives: Mapping[int, tuple[str, tuple[Body, ...]]]
    """By status: what it means, and what comes with it."""
    refuses: tuple[type[AntiphonError], ...] = ()
    """Beyond what any request may be refused for."""
    tag: str = "server"
    parameters: tuple[Json, ...] = ()
    takes: tuple[Body, ...] = ()
    security: tuple[Json, ...] | None = None
    """What must be shown; none of it: (); None: as the whole document says, a key."""


#: What comes with every error.
ERROR = (Body("application/json", ErrorAnswer),)


def gives_json(kind: Any, means: str) -> tuple[str, tuple[Body, ...]]:
    """An answer in JSON."""
    return means, (Body("application/json", kind),)


def document(operations: Iterable[Operation], head: Mapping[str, Any]) -> Json:
    """The whole of it. head: what does not follow from the operations."""
    operations = tuple(operations)
    kinds = list(dict.fromkeys(kind for operation in operations for kind in _kinds(operation)))
    _, schemas = msgspec.json.schema_components([*kinds, ErrorAnswer], ref_template=REF)
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    components = {**head.get("components", {}), "schemas": dict(sorted(_noted(schemas, kinds).items()))}
    return {"openapi": "3.1.0", **head, "paths": paths, "components": components}


def _kinds(operation: Operation) -> Iterable[Any]:
    bodies = [body for _, found in operation.gives.values() for body in found]
    for body in (*bodies, *operation.takes):
        yield from body.parts.values()
        if body.kind is not None:
            yield body.kind


def _described(operation: Operation) -> Json:
    answers: dict[str, Json] = {
        str(status): {"description": means, **_content(bodies)}
        for status, (means, bodies) in operation.gives.items()
    }
    refuses = operation.refuses if operation.security is not None else (*AT_THE_DOOR, *operation.refuses)
    answers |= {status: told for status, told in _refusals(refuses).items() if status not in answers}
    answers["default"] = {"description": "Any other error", **_content(ERROR)}
    described: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": answers,
    }
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.takes:
        required = all(body.required for body in operation.takes)
        described["requestBody"] = {"required": required, **_content(operation.takes)}
    if operation.security is not None:
        described["security"] = list(operation.security)
    return described


def _refusals(errors: Iterable[type[AntiphonError]]) -> dict[str, Json]:
    """By status, each code with what it means."""
    by_status: dict[str, list[str]] = {}
    for error in dict.fromkeys(errors):
        meaning = " ".join((error.__doc__ or "").split())
        by_status.setdefault(str(error.http_status), []).append(f"`{error.code}`: {meaning}")
    return {
        status: {"description": "\n\n".join(said), **_content(ERROR)}
        for status, said in sorted(by_status.items())
    }


def _content(bodies: Iterable[Body]) -> Json:
    content: Json = {body.content_type: {"schema": _schema(body)} for body in bodies}
    for body in bodies:
        if body.encoding:
            content[body.content_type]["encoding"] = dict(body.encoding)
    return {"content": content} if content else {}


def _schema(body: Body) -> Json:
    if body.kind is not None:
        return _reference(body.kind)
    schema = dict(body.schema)
    if body.parts:
        fields = {name: _reference(kind) for name, kind in body.parts.items()}
        schema["properties"] = {**schema["properties"], **fields}
        schema["required"] = [*schema["required"], *fields]
    return schema


def _reference(kind: Any) -> Json:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=REF)
    return schema


# --- what the structs say of their fields


def _noted(schemas: dict[str, Json], kinds: Iterable[Any]) -> dict[str, Json]:
    """With the note that stands under a field in the source, which is not kept at run time."""
    modules = {inspect.getmodule(kind) for kind in (*kinds, ErrorAnswer) if inspect.isclass(kind)}
    notes: dict[str, dict[str, str]] = {}
    for module in filter(None, modules):
        notes |= _notes(inspect.getsource(module))
    for name, schema in schemas.items():
        for field_name, note in notes.get(name, {}).items():
            if field_name in schema.get("properties", {}):
                schema["properties"][field_name]["description"] = note
    return schemas


def _notes(source: str) -> dict[str, dict[str, str]]:
    """By class and field."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for before, after in zip(node.body, node.body[1:], strict=False):
            if isinstance(before, ast.AnnAssign) and (note := _text(after)):
                found.setdefault(node.name, {})[ast.unparse(before.target)] = note
    return found


def _text(node: ast.stmt) -> str:
    match node:
        case ast.Expr(ast.Constant(str() as text)):
            return " ".join(text.split())
    return ""
