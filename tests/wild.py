"""What strangers send: values near those that our structs take, and what damage makes of them. Strategies, and no tests.

Near is what finds something: of bytes at random hardly one in a thousand gets past the first brace.
"""

import base64
import json
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect as kinds

Json = Any

#: Beyond 64 bits, at their edges, and what floats make of it.
EDGES = [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40]

#: Words that mean something to somebody: ids that the server gives, markers, what breaks terminals, tables and paths.
WORDS = [
    "", "root", "auto", "none", "inf", "item_0123456789ab_a1", "item_0123456789ab_u1", "item_0123456789ab_f1_0",
    "item_0123456789ab_a99999999999999999999", "resp_0123456789ab_1", "\0", "\u2028", "\U0001f600", "e\u0301" * 30,
    "../../etc/passwd", "%s%n{0}", "<|im_end|>", "—", "...", "a" * 64, "a" * 65, "a" * 257,
]  # fmt: skip

texts = st.one_of(st.sampled_from(WORDS), st.text(max_size=20))
numbers = st.one_of(
    st.integers(-10, 30_000), st.sampled_from(EDGES), st.floats(allow_nan=False, allow_infinity=False)
)

#: Any JSON, small.
anything: st.SearchStrategy[Json] = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)


def fitting(kind: Any) -> st.SearchStrategy[Json]:
    """JSON that msgspec takes for a type."""
    return _of(kinds.type_info(kind))


def _of(info: kinds.Type) -> st.SearchStrategy[Json]:
    match info:
        case kinds.StructType():
            return st.deferred(lambda: _struct(info))
        case kinds.UnionType(types=types):
            return st.one_of(*map(_of, types))
        case kinds.LiteralType(values=values):
            return st.sampled_from(values)
        case kinds.ListType(item_type=item, min_length=least):
            return st.lists(_of(item), min_size=least or 0, max_size=max(3, least or 0))
        case kinds.DictType(key_type=key, value_type=value):
            return st.dictionaries(_of(key), _of(value), max_size=3)
        case kinds.StrType(max_length=most):
            return texts if most is None else texts.map(lambda text: text[:most])
        case kinds.IntType(ge=least, le=most):
            return st.one_of(
                st.integers(least, 30_000 if most is None else most),
                st.just(least or 0),
                st.just(most or 2**63 - 1),
            )
        case kinds.FloatType(ge=least, le=most):
            return st.floats(least, most, allow_nan=False, allow_infinity=False)
        case kinds.BoolType():
            return st.booleans()
        case kinds.NoneType():
            return st.none()
        case kinds.BytesType():
            return st.binary(max_size=64).map(lambda data: base64.b64encode(data).decode())
        case kinds.AnyType():
            return anything
    raise AssertionError(f"nobody has said yet what fits {info}")


def _struct(info: kinds.StructType) -> st.SearchStrategy[Json]:
    """Any of the optional fields; all of those that must be."""
    tag = {info.tag_field: st.just(info.tag)} if info.tag_field else {}
    needed = {field.encode_name: _of(field.type) for field in info.fields if field.required}
    others = {field.encode_name: _of(field.type) for field in info.fields if not field.required}
    return st.fixed_dictionaries({**tag, **needed}, optional=others)


def _places(value: Json, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inner for place in _places(one, (*at, key)))]


@st.composite
def bent(draw: st.DrawFn, fitting: st.SearchStrategy[Json]) -> Json:
    """A value that fits, with up to two of its parts put in another's place, taken away or made something else."""
    value = json.loads(json.dumps(draw(fitting)))
    for _ in range(draw(st.integers(0, 2))):
        places = _places(value)[1:]
        if not places:
            return draw(anything)
        *way, last = draw(st.sampled_from(places))
        holder = value
        for key in way:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "remove", "wrap", "copy"]))
        if how == "remove":
            del holder[last]
        elif how == "wrap":
            holder[last] = [holder[last]] * draw(st.integers(1, 3))
        else:
            holder[last] = draw(anything) if how == "replace" else json.loads(json.dumps(value))
    return value


@st.composite
def written(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> str:
    """As a message; one in some is cut, or has something in it that is none of its own."""
    text = json.dumps(draw(values), ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 7)):
        return text
    at = draw(st.integers(0, len(text)))
    return (
        text[:at]
        + draw(st.one_of(st.just(""), texts, st.sampled_from(['"', "]", "\\ud800", "1e999", "NaN"])))
        + text[at + draw(st.integers(0, 9)) :]
    )


def updates(kind: type, config: type) -> st.SearchStrategy[Json]:
    """session.update, whose session is read by a struct of its own only later."""
    return fitting(kind).flatmap(
        lambda event: st.one_of(fitting(config), bent(fitting(config))).map(
            lambda session: {**event, "session": session}
        )
    )


def utf8(text: str) -> bool:
    """Whether it can have come over a WebSocket, which carries nothing else."""
    try:
        msgspec.json.encode(text)
    except UnicodeEncodeError:
        return False
    return True
