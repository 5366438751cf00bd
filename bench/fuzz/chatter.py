"""What hostile clients say: events that nearly fit, in no sensible order. Pure but for the dice handed in."""

import base64
import json
from random import Random
from typing import Any

from web.ogg import OggOpusWriter

Json = dict[str, Any]

#: Ids that may be there, may have been there, or never were.
ITEMS = ("root", "item_1", "item_2", "item_3", "x" * 64, "x" * 65, "", "item_0123456789ab_a1")

#: What stands where something else should.
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, 10**40, 1e308, 0.5, "", "\0", "\U0001f600", "a" * 300, [], {}, [[]], {"type": "x"},
)  # fmt: skip

#: Of one message, in characters: under a server's usual limit, and over it.
LARGE, TOO_LARGE = 200_000, 300_000


def _sound(dice: Random) -> str:
    length = dice.choice((0, 1, 2, 959, 960, 4800, 48_000))
    return base64.b64encode(dice.randbytes(length)).decode()


def _text(dice: Random) -> str:
    return dice.choice(("Hello.", "", " ", "word " * dice.randrange(1, 3000), "\u202e\0é" * 50))


def _item(dice: Random) -> Json:
    kind = dice.choice(
        ("message", "message", "function_call", "function_call_output", "item_reference", "nonsense")
    )
    item: Json = {"type": kind, "id": dice.choice(ITEMS)}
    if kind == "message":
        parts = dice.choice(("input_text", "output_text", "input_audio", "input_image"))
        role = dice.choice(("user", "assistant", "system", "nobody"))
        return {**item, "role": role, "content": [{"type": parts, "text": _text(dice)}] * dice.randrange(4)}
    return {
        **item,
        "call_id": dice.choice(("c1", "c2", "")),
        "name": "f",
        "arguments": "{",
        "output": _text(dice),
    }


def _session(dice: Random) -> Json:
    detection = dice.choice(
        (None, {"type": "server_vad", "threshold": dice.random()}, {"type": "semantic_vad"})
    )
    tool = {
        "type": "function",
        "name": f"f{dice.randrange(9)}",
        "parameters": {"type": "object", "x": dice.choice(ODD)},
    }
    fields: Json = {
        "type": "realtime",
        "instructions": _text(dice),
        "tools": [tool] * dice.choice((0, 1, 3, 128, 129, 3000)),
        "output_modalities": dice.choice((["text"], ["audio"], [], ["audio", "text"])),
        "max_output_tokens": dice.choice((1, 20, "inf", 0, 10**9)),
        "audio": {
            "input": {
                "turn_detection": detection,
                "format": {"type": dice.choice(("audio/pcm", "audio/pcmu", "audio/opus", "x"))},
            },
            "output": {"voice": dice.choice(("", "nobody", "\0")), "speed": dice.choice((0.25, 1, 1.5, 9))},
        },
        "nested": _nested(dice.choice((1, 10, 40, 400))),
    }
    return {name: fields[name] for name in dice.sample(sorted(fields), dice.randrange(1, 4))}


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def _event(dice: Random) -> Json:
    """One that fits, as far as the dice will."""
    kind = dice.choice((
        "session.update", "input_audio_buffer.append", "input_audio_buffer.append", "input_audio_buffer.commit",
        "input_audio_buffer.clear", "conversation.item.create", "conversation.item.create",
        "conversation.item.truncate", "conversation.item.retrieve", "conversation.item.delete",
        "response.create", "response.create", "response.cancel", "unmute.input_audio_buffer.append_anonymized",
        "no.such.event",
    ))  # fmt: skip
    fields: Json = {}
    match kind:
        case "session.update":
            fields = {"session": _session(dice)}
        case "input_audio_buffer.append":
            fields = {"audio": _sound(dice)}
        case "conversation.item.create":
            fields = {"item": _item(dice), "previous_item_id": dice.choice((None, *ITEMS))}
        case "conversation.item.truncate":
            fields = {
                "item_id": dice.choice(ITEMS),
                "content_index": 0,
                "audio_end_ms": dice.choice((0, 500, 10**15)),
            }
        case "conversation.item.retrieve" | "conversation.item.delete":
            fields = {"item_id": dice.choice(ITEMS)}
        case "response.create":
            aside = {"conversation": "none", "input": [_item(dice)], "output_modalities": ["text"]}
            fields = {"response": dice.choice((None, {}, aside, {"instructions": _text(dice)}))}
    return {"type": kind, "event_id": f"e{dice.randrange(99)}", **fields}


def _bent(event: Json, dice: Random) -> Json:
    """With one part made something else, or taken away."""
    holder: Any = event
    while True:
        key = dice.choice(sorted(holder)) if isinstance(holder, dict) else dice.randrange(len(holder))
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or dice.random() < 0.4:
            break
        holder = inner
    if dice.random() < 0.2:
        del holder[key]
    else:
        holder[key] = dice.choice(ODD)
    return event


def message(dice: Random) -> str | bytes:
    """Something for a GA connection."""
    event = _event(dice)
    lot = dice.random()
    if lot < 0.5:
        return json.dumps(event)
    if lot < 0.85:
        return json.dumps(_bent(event, dice))
    text = json.dumps(event)
    at = dice.randrange(len(text))
    return dice.choice((
        text[:at], text[:at] + "\\ud800" + text[at:], "[" * dice.choice((10, 5000, LARGE)), "{}", "null", "",
        f'{{"type": "session.update", "session": {{"instructions": "{"x" * LARGE}"}}}}',
    ))  # fmt: skip


class Pages:
    """An Ogg stream for a connection of Unmute's kind, with whatever the dice put into it."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self._writer = OggOpusWriter(dice.randrange(2**32))
        self._begun = False

    def message(self) -> str:
        """An event; the first ones begin conversation and stream, mostly."""
        dice = self._dice
        if not self._begun:
            self._begun = True
            session = {
                "instructions": {"type": "constant", "text": "Be brief."},
                "voice": None,
                "allow_recording": False,
            }
            return json.dumps({"type": "session.update", "session": session})
        if dice.random() < 0.2:
            return json.dumps(
                _bent({"type": "session.update", "session": {"allow_recording": False, "voice": "x"}}, dice)
            )
        packets = [dice.randbytes(dice.randrange(1, 200)) for _ in range(dice.randrange(1, 6))]
        pages = bytearray(dice.choice((b"", self._writer.head())) + self._writer.pages(packets))
        if dice.random() < 0.3:
            pages[dice.randrange(len(pages))] ^= 0xFF
        cut = dice.choice((len(pages), dice.randrange(len(pages))))
        return json.dumps(
            {"type": "input_audio_buffer.append", "audio": base64.b64encode(pages[:cut]).decode()}
        )
