"""Asking for work. Sending the same request twice does no harm: claims decide. All but `prefill` raise RedisError.

What somebody waits for already goes first: work whose worker died, then replies, then sessions that begin, and last
what may not be needed at all. The numbers are steps of kombu: each is a list of its own in Redis, 0 is emptied first.
"""

from contextlib import suppress

from tasks.celery import submit
from tasks.streams import RedisError

RECOVERY, REPLY, BEGIN, AHEAD = 0, 3, 6, 9


def listen(sid: str, priority: int = BEGIN, asked_s: float | None = None) -> None:
    """Someone shall listen to the session."""
    submit("stt.listen", sid, priority=priority, asked_s=asked_s)


def reply(
    sid: str, number: int, priority: int = REPLY, trace: str = "", asked_s: float | None = None
) -> None:
    """Someone shall write reply `number`."""
    submit("llm.reply", sid, number, priority=priority, trace=trace, asked_s=asked_s)


def speak(
    sid: str, number: int, priority: int = REPLY, trace: str = "", asked_s: float | None = None
) -> None:
    """Someone shall speak reply `number`."""
    submit("tts.speak", sid, number, priority=priority, trace=trace, asked_s=asked_s)


def prefill(sid: str) -> None:
    """Someone may read the prompt that probably comes; without a broker, nobody does."""
    with suppress(RedisError):
        submit("llm.prefill", sid, priority=AHEAD)


def clone(upload: str) -> None:
    """Someone shall make a voice of a recording."""
    submit("voices.clone", upload)


def order(stage: str, sid: str, number: int, trace: str = "") -> None:
    """The stage's own task; trace: the traceparent of the work it does, where that is known."""
    if stage == "stt":
        listen(sid)
    elif stage == "llm":
        reply(sid, number, trace=trace)
    else:
        speak(sid, number, trace=trace)


def again(stage: str, sid: str, number: int, trace: str = "", asked_s: float | None = None) -> None:
    """The same once more, before all others: its session has waited already. asked_s: since when (unix time), if it is
    work that nobody has begun."""
    if stage == "stt":
        listen(sid, RECOVERY, asked_s)
    elif stage == "llm":
        reply(sid, number, RECOVERY, trace, asked_s)
    else:
        speak(sid, number, RECOVERY, trace, asked_s)
