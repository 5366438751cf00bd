"""Replies ahead, where every word has its price: only if the operator says so."""

import pytest

from config.settings import load


@pytest.mark.parametrize(
    ("url", "ahead"),
    [
        pytest.param("http://llm:8000/v1", True, id="a service of this stack"),
        pytest.param("http://192.168.1.7:8000/v1", True, id="this network"),
        pytest.param("http://[::1]:8000/v1", True, id="this machine, by IPv6"),
        pytest.param("https://api.example.com/v1", False, id="somebody else's"),
        pytest.param("https://8.8.8.8/v1", False, id="somebody else's, by number"),
        pytest.param("https://[2606:4700::1111]/v1", False, id="somebody else's, by IPv6"),
    ],
)
def test_replies_are_made_ahead_only_near_by(url: str, ahead: bool) -> None:
    settings = load()
    near = settings.llm.model_copy(update={"options": {"url": url}})
    assert settings.model_copy(update={"llm": near}).preempts is ahead


@pytest.mark.parametrize(
    ("urls", "ahead"),
    [
        pytest.param(["http://llm:8000/v1", {"url": "http://10.0.0.2/v1"}], True, id="all of this network"),
        pytest.param(["http://llm:8000/v1", {"url": "https://api.example.com/v1"}], False, id="one is not"),
        pytest.param("http://llm:8000/v1,https://api.example.com/v1", False, id="one is not, in a variable"),
    ],
)
def test_of_several_servers_all_must_be_near(urls: object, ahead: bool) -> None:
    settings = load()
    several = settings.llm.model_copy(update={"options": {"urls": urls, "url": "http://near/v1"}})
    assert settings.model_copy(update={"llm": several}).preempts is ahead
