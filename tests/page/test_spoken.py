"""Somebody speaks to the page, embedded engines understand and answer, and it is seen and heard."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests import speech
from tests.conftest import missing
from tests.house import House, open_house
from tests.page.conftest import LOUD, RATE, UNGREETED, Open, talks

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.slow, pytest.mark.model]

#: Engines load in some seconds; this is for a machine under load.
LOADING_S = 150.0


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if not speech.there():
        missing("the recordings of moonshine-voice")
    env = {"ANTIPHON_PROFILE": "embedded", "ANTIPHON_LLM__OPTIONS": "{}", "ANTIPHON_TTS__OPTIONS": "{}"}
    folder = tmp_path_factory.mktemp("embedded")
    with open_house(folder, workers=1, env=env, start_deadline_s=LOADING_S) as house:
        yield house


def test_a_spoken_conversation(embedded: House, open_page: Open, browsers: Callable[..., Any]) -> None:
    silence = np.zeros(RATE, np.float32)
    spoken = np.concatenate([silence, speech.recording("beckett"), np.tile(silence, 60)])
    visit = open_page(embedded, browser=browsers("beckett", spoken), wishes=UNGREETED)
    talks(visit)
    visit.until(
        "conversation.transcript.lines.some((line) => line.who === 'you' && line.state === 'done')", "words"
    )
    visit.page.wait_for_function(LOUD)
    visit.until(
        "conversation.transcript.lines.some((line) => line.who === 'them' && line.heard > 0)", "an answer"
    )
    shown = speech.plain(" ".join(visit.page.locator(".line.you").all_inner_texts()))
    assert "ever tried" in shown or "fail" in shown
