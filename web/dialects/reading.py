"""Client messages to event structs, and mistakes to errors that name the field. Knows no dialect."""

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


def field_of(message: str, root: str = "") -> str | None:
    """The field that msgspec complains of: `... - at `$.session.voice`` gives session.voice."""
    if "`$" not in message:
        return None
    path = message.rsplit("`$", 1)[1].strip("`.")
    return f"{root}.{path}".strip(".") or None


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
    field = field_of(complaint)
    if field == "type":
        error = ClientError(f"there is no event type {str(sent.type)[:MAX_QUOTE]!r}", param=field)
    else:
        error = ClientError(complaint, param=field)
    if isinstance(sent.event_id, str) and len(sent.event_id) <= MAX_QUOTE:
        error.event_id = sent.event_id
    return error
