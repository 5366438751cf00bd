"""The Celery tasks. Each claims a seat and parks in it; ids and numbers are their only arguments."""

from config.logs import about
from config.tracing import trace_id
from tasks.celery import app, carried
from tasks.voices import desks
from tasks.worker import running


@app.task(name="stt.listen")
def listen(sid: str) -> None:
    """Listens to a session until it ends."""
    with about(session=sid):
        running["stt"].serve(sid, 0)


@app.task(name="llm.reply")
def reply(sid: str, number: int) -> None:
    """Writes reply `number` of the session."""
    with about(session=sid, reply=number, trace=trace_id(carried())):
        running["llm"].serve(sid, number)


@app.task(name="llm.prefill")
def prefill(sid: str) -> None:
    """Reads the prompt that probably comes."""
    running["llm"].prefill(sid)


@app.task(name="tts.speak")
def speak(sid: str, number: int) -> None:
    """Speaks reply `number` of the session."""
    with about(session=sid, reply=number, trace=trace_id(carried())):
        running["tts"].serve(sid, number)


@app.task(name="voices.clone")
def clone(upload: str) -> None:
    """Makes a voice of a recording."""
    desks[0].clone(upload)
