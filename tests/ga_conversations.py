"""Conversations in the GA dialect, and the events that each must bring, in order."""

import base64

from config.errors import StageFailed
from tests.ga_line import BEGUN, DONE, ITEM_DONE, SPOKEN, VOICE_DONE, VOICED, Line, S
from web.dialects.base import ClearInput, CommitInput, CreateReply


def happy(line: Line) -> None:
    line.greet()
    line.update(instructions="Be kind.")
    line.speak("How are you?")
    line.answer(1, "Fine, ", "thanks.")
    line.end(1)


def barge_in(line: Line) -> None:
    line.answer(1, "One ", "two ", "three.")
    line.end(1, "cancelled", "turn_detected", text="One")
    line.hear(line.dialect.speech_began(5 * S))


def manual(line: Line) -> None:
    line.update(audio={"input": {"turn_detection": None}})
    assert line.send("input_audio_buffer.clear") == [ClearInput()]
    line.hear(line.dialect.cleared())
    line.send("input_audio_buffer.append", audio=base64.b64encode(bytes(960)).decode())
    assert line.send("input_audio_buffer.commit", event_id="c1") == [CommitInput("c1")]
    line.hear(line.dialect.committed())
    assert line.send("response.create", event_id="r1") == [CreateReply("r1")]
    line.hear(line.dialect.user_text("Go on."))
    line.answer(1, "Yes.")
    line.end(1)


def text_only(line: Line) -> None:
    line.update(output_modalities=["text"])
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    (added,) = line.send("conversation.item.create", item=item)
    line.hear(line.dialect.item_added(added, None))
    line.answer(1, "Hi ", "there.")
    line.end(1)


def failure(line: Line) -> None:
    line.answer(1, "Well, ")
    line.hear(line.dialect.error(StageFailed("the reply failed at the voice; please try again")))
    line.end(1, "failed", "failed", text="")


def nothing_understood(line: Line) -> None:
    line.speak("")


def transcript_late(line: Line) -> None:
    line.hear(line.dialect.speech_began(S))
    line.hear(line.dialect.committed())
    line.hear(line.dialect.not_understood())


def goes_on_after_the_end(line: Line) -> None:
    """Two commits before the first transcript: each finds its own item."""
    for at_s in (1, 3):
        line.hear(line.dialect.speech_began(at_s * S))
        line.hear(line.dialect.committed())
    line.hear(line.dialect.user_text("I want"))
    line.hear(line.dialect.user_text("to go."))


CONVERSATIONS = {
    "a turn and its reply": (
        happy,
        ["session.created", "session.updated", *SPOKEN, *BEGUN, *VOICED, *VOICED, *DONE],
    ),
    "barge-in": (
        barge_in,
        [*BEGUN, *VOICED * 3, SPOKEN[0], *VOICE_DONE, *ITEM_DONE, "conversation.item.truncated", "response.done"],
    ),
    "a manual turn": (
        manual,
        ["session.updated", "input_audio_buffer.cleared", *SPOKEN[2:], *BEGUN, *VOICED, *DONE],
    ),
    "text only": (
        text_only,
        [
            "session.updated", "conversation.item.added", "conversation.item.done", *BEGUN,
            *["response.output_text.delta"] * 2, "response.output_text.done", *ITEM_DONE, "response.done",
        ],
    ),
    "a reply that fails": (failure, [*BEGUN, *VOICED, "error", *DONE]),
    "an utterance without words": (nothing_understood, [*SPOKEN[:5], SPOKEN[6]]),
    "a transcript that never comes": (
        transcript_late, [SPOKEN[0], *SPOKEN[2:5], "conversation.item.input_audio_transcription.failed"],
    ),
    "two utterances in one turn": (
        goes_on_after_the_end, [*[SPOKEN[0], *SPOKEN[2:5]] * 2, *SPOKEN[5:] * 2],
    ),
}  # fmt: skip
