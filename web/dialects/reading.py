"""Client messages to event structs, and mistakes to errors that name the field. Knows no dialect."""

from typing import Any, Generic, TypeVar

import msgspec

from config.errors import ClientError

T = TypeVar("T")

#: What is quoted back of a client's own words: enough to recognise them.
MAX_QUOTE = 64

#: Beyond, msgpack has no word for them.
WHOLE_NUMBERS = range(-(1 << 63), 1 << 64)


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
    """Raises ClientError for what cannot be saved and sent on as it is: nested deeper, or with numbers beyond 64 bits."""
    if levels == 0:
        raise ClientError(f"{param} is nested too deeply", param=param)
    if isinstance(value, int) and value not in WHOLE_NUMBERS:
        raise ClientError(f"{param} holds a whole number beyond 64 bits", param=param)
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
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
