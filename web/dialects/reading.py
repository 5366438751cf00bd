"""Client messages to event structs, and mistakes to errors that name the field. Knows no dialect."""

import re
from typing import Any, Generic, TypeVar

import msgspec

from config.errors import ClientError

T = TypeVar("T")

#: What is quoted back of a client's own words: enough to recognise them.
MAX_QUOTE = 64

#: Whole numbers beyond, msgpack has no word for.
LEAST, LARGEST = -(1 << 63), (1 << 64) - 1

#: Objects and arrays of one event: the tools of a large session have some thousand. What has ten times that takes long
#: to read, and nobody means it.
MOST_PARTS = 10_000


_MISSING = re.compile("Object missing required field `([^`]+)`")

#: The API's codes, by what msgspec says. Seen in the API's answers (issues of its clients, its own error objects).
CODES = (
    (_MISSING, "missing_required_parameter"),
    (re.compile("Expected `str` of length <="), "string_above_max_length"),
    (re.compile("Expected `array` of length <="), "array_above_max_length"),
    (re.compile("Expected `array` of length >="), "array_below_min_length"),
    (re.compile("Expected `object` of length <="), "object_above_max_properties"),
    (re.compile("Expected `int` >="), "integer_below_min_value"),
    (re.compile("Expected `int` <="), "integer_above_max_value"),
    (re.compile("Expected `float` >="), "decimal_below_min_value"),
    (re.compile("Expected `float` <="), "decimal_above_max_value"),
    (re.compile("Expected .*, got "), "invalid_type"),
    (re.compile("Invalid|Number out of range"), "invalid_value"),
)


class _Loose(msgspec.Struct):
    """What can be said of an event that does not fit."""

    type: Any = None
    event_id: Any = None


class EventReader(Generic[T]):
    """Reads the events of one dialect; `kind` is their tagged union."""

    def __init__(self, kind: Any) -> None:
        self._decode = msgspec.json.Decoder(kind).decode

    def read(self, raw: str) -> T:
        """An event. Raises ClientError, which carries the `event_id` of what does not fit."""
        if len(raw) > MOST_PARTS and raw.count("{") + raw.count("[") > MOST_PARTS:
            raise ClientError(
                f"this JSON is nested too deeply, or has over {MOST_PARTS} objects and arrays",
                code="invalid_json",
            )
        try:
            event: T = self._decode(raw)
        except msgspec.ValidationError as error:
            raise _misfit(raw, str(error)) from error
        except msgspec.DecodeError as error:
            raise ClientError(f"this is not JSON: {error}", code="invalid_json") from error
        except RecursionError as error:
            raise ClientError("this JSON is nested too deeply", code="invalid_json") from error
        return event


def misfit(complaint: str, root: str = "") -> ClientError:
    """What msgspec complains of, as the API says it: `... - at `$.voice`` below `session` is session.voice."""
    path = complaint.rsplit("`$", 1)[1].strip("`.") if "`$" in complaint else ""
    left_out = _MISSING.match(complaint)
    parts = (root, path, left_out[1] if left_out else "")
    code = next((code for pattern, code in CODES if pattern.match(complaint)), None)
    return ClientError(complaint, param=".".join(part for part in parts if part) or None, code=code)


def require_plain(value: object, levels: int, param: str) -> None:
    """Raises ClientError for what cannot be saved as it is: nested deeper, or with numbers beyond 64 bits."""
    if levels == 0:
        raise ClientError(f"{param} is nested too deeply", param=param)
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(one, int):
            if not LEAST <= one <= LARGEST:
                raise ClientError(f"{param} holds a whole number beyond 64 bits", param=param)
        elif isinstance(one, dict | list):
            require_plain(one, levels - 1, param)


def _misfit(raw: str, complaint: str) -> ClientError:
    try:
        sent = msgspec.json.decode(raw, type=_Loose)
    except (msgspec.DecodeError, RecursionError):
        return ClientError("an event is a JSON object with a `type`")
    error = misfit(complaint)
    if error.param == "type" and sent.type is None:
        error = ClientError("an event has a `type`", param="type", code="missing_required_parameter")
    elif error.param == "type":
        error = ClientError(
            f"there is no event type {str(sent.type)[:MAX_QUOTE]!r}", param="type", code="invalid_value"
        )
    if isinstance(sent.event_id, str) and len(sent.event_id) <= MAX_QUOTE:
        error.event_id = sent.event_id
    return error
