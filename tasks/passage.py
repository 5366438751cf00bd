"""The spans of one reply's passage through a worker, made of its seat's marks when it is over: the loops know no spans.

Made by the task's own thread, so that a loop that serves many never waits for them.
"""

from config.tracing import Tracer, Value
from tasks.loop import Seat
from tasks.shared_time import shared_time

#: By stage: the span of the whole, and its parts. A part lasts from its own mark to the next one's, or to the end.
PARTS = {
    "llm": ("llm.write", {"claimed": "llm.first_word", "first_word": "llm.generate"}),
    "tts": (
        "tts.voice",
        {"claimed": "tts.await_text", "first_word": "tts.first_audio", "first_audio": "tts.generate"},
    ),
}


def record(tracer: Tracer, seat: Seat, **about: Value) -> None:
    """The spans of a seat that is over. Nothing where no trace came with it, as with a session's listening."""
    if not seat.trace or seat.lease.stage not in PARTS:
        return
    lease, marks, end_s = seat.lease, seat.marks, shared_time.now_s()
    name, parts = PARTS[lease.stage]
    whole = tracer.span(
        name, marks["claimed"], parent=seat.trace,
        session=lease.sid, reply=lease.reply, stage=lease.stage, worker=lease.owner, epoch=lease.epoch, **about,
    )  # fmt: skip
    reached = [mark for mark in parts if mark in marks]
    ends_s = [*(marks[mark] for mark in reached[1:]), end_s]
    for mark, until_s in zip(reached, ends_s, strict=True):
        whole.child(parts[mark], marks[mark], stage=lease.stage).end(until_s)
    # a reply that was called off is lost, too, and that is no failure
    whole.note(outcome="lost" if seat.lost else "done" if seat.done else "handed back")
    whole.end(end_s)
