"""What strangers send: values near those that our structs take, and what damage makes of them. Strategies, no tests.

Near is what finds something: of bytes at random hardly one in a thousand gets past the first brace.
"""

import base64
import json
from collections.abc import Callable
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


def _integers(info: kinds.IntType) -> st.SearchStrategy[Json]:
    most = 30_000 if info.le is None else info.le
    return st.one_of(st.integers(info.ge, most), st.just(info.ge or 0), st.just(info.le or 2**63 - 1))


def _floats(info: kinds.FloatType) -> st.SearchStrategy[Json]:
    return st.floats(info.ge, info.le, allow_nan=False, allow_infinity=False)


def _lists(info: kinds.ListType) -> st.SearchStrategy[Json]:
    least = info.min_length or 0
    return st.lists(_of(info.item_type), min_size=least, max_size=max(3, least))


#: By what msgspec calls a type.
STRATEGIES: dict[type, Callable[[Any], st.SearchStrategy[Json]]] = {
    kinds.StructType: lambda info: st.deferred(lambda: _struct(info)),
    kinds.UnionType: lambda info: st.one_of(*map(_of, info.types)),
    kinds.LiteralType: lambda info: st.sampled_from(info.values),
    kinds.ListType: _lists,
    kinds.DictType: lambda info: st.dictionaries(_of(info.key_type), _of(info.value_type), max_size=3),
    kinds.StrType: lambda info: texts.map(lambda text: text[: info.max_length]),
    kinds.IntType: _integers,
    kinds.FloatType: _floats,
    kinds.BoolType: lambda info: st.booleans(),
    kinds.NoneType: lambda info: st.none(),
    kinds.BytesType: lambda info: st.binary(max_size=64).map(lambda data: base64.b64encode(data).decode()),
    kinds.AnyType: lambda info: anything,
}


def _of(info: kinds.Type) -> st.SearchStrategy[Json]:
    return STRATEGIES[type(info)](info)


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


def append(data: bytes) -> str:
    """The event that brings bytes."""
    return f'{{"type": "input_audio_buffer.append", "audio": "{base64.b64encode(data).decode()}"}}'
