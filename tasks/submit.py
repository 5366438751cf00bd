"""Asking for work. Sending the same request twice does no harm: claims decide. All but `prefill` raise RedisError."""

from contextlib import suppress

from tasks.celery import submit
from tasks.streams import RedisError


def listen(sid: str) -> None:
    """Someone shall listen to the session."""
    submit("stt.listen", sid)


def reply(sid: str, number: int) -> None:
    """Someone shall write reply `number`."""
    submit("llm.reply", sid, number)


def speak(sid: str, number: int) -> None:
    """Someone shall speak reply `number`."""
    submit("tts.speak", sid, number)


def prefill(sid: str) -> None:
    """Someone may read the prompt that probably comes; without a broker, nobody does."""
    with suppress(RedisError):
        submit("llm.prefill", sid)


def clone(upload: str) -> None:
    """Someone shall make a voice of a recording."""
    submit("voices.clone", upload)


def again(stage: str, sid: str, number: int) -> None:
    """The stage's own task, once more."""
    if stage == "stt":
        listen(sid)
    elif stage == "llm":
        reply(sid, number)
    else:
        speak(sid, number)
