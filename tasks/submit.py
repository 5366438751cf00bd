"""Asking for work. Sending the same request twice does no harm: claims decide."""

from tasks.celery import submit


def listen(sid: str) -> None:
    """Someone shall listen to the session."""
    submit("stt.listen", sid)


def reply(sid: str, number: int, trace: str = "") -> None:
    """Someone shall write reply `number`."""
    submit("llm.reply", sid, number, trace=trace)


def speak(sid: str, number: int, trace: str = "") -> None:
    """Someone shall speak reply `number`."""
    submit("tts.speak", sid, number, trace=trace)


def prefill(sid: str) -> None:
    """Someone may read the prompt that probably comes."""
    submit("llm.prefill", sid)


def clone(upload: str) -> None:
    """Someone shall make a voice of a recording."""
    submit("voices.clone", upload)


def again(stage: str, sid: str, number: int, trace: str = "") -> None:
    """The stage's own task, once more; trace: the traceparent of the work it does, where that is known."""
    if stage == "stt":
        listen(sid)
    elif stage == "llm":
        reply(sid, number, trace)
    else:
        speak(sid, number, trace)
