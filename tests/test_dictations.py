"""Sound in items: what becomes of it when something goes wrong."""

from types import SimpleNamespace
from typing import Any

import gevent
from gevent.event import Event

from config.errors import AntiphonError, StageFailed
from web.config import Wishes
from web.dialects.base import AppendAudio
from web.dictation import Dictations

DEADLINE_S = 5.0


class Broken:
    """A process in which nothing works."""

    def __getattr__(self, name: str) -> Any:
        raise LookupError(name)


def test_what_goes_wrong_with_one_sound_leaves_nobody_waiting() -> None:
    woken = Event()
    dictations = Dictations(SimpleNamespace(fanout=Broken()), "sid", woken.set)  # type: ignore[arg-type]
    heard: list[str | AntiphonError] = []
    for _ in range(2):
        dictations.ask(AppendAudio([b""], 0), Wishes(), heard.append)
    with gevent.Timeout(DEADLINE_S):
        while dictations.pending:
            woken.wait()
            woken.clear()
            dictations.settle()
    assert [type(what) for what in heard] == [StageFailed, StageFailed]
