"""Settings that contradict one another are refused, in words that name both; those that are shipped agree."""

from collections.abc import Iterator

import pytest

from config.errors import ConfigError
from config.settings import load, profiles


@pytest.fixture(autouse=True)
def read_anew() -> Iterator[None]:
    load.cache_clear()
    yield
    load.cache_clear()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param(
            {"OWNERSHIP__LEASE_MS": "300"}, ("lease_ms", "renew_s"), id="a lease shorter than its renewal"
        ),
        pytest.param({"OWNERSHIP__RENEW_S": "0.6"}, ("lease_ms", "renew_s"), id="less than three chances"),
        pytest.param({"OWNERSHIP__WATCH_S": "1.15"}, ("lease_ms", "watch_s"), id="the web looks too seldom"),
        pytest.param(
            {"OWNERSHIP__HEARTBEAT_TTL_S": "0.4"}, ("heartbeat_ttl_s", "renew_s"), id="beats too far apart"
        ),
        pytest.param(
            {"OWNERSHIP__TELL_AFTER_S": "0.6"}, ("tell_after_s", "watch_s"), id="told before it is known"
        ),
        pytest.param({"ADMISSION__LOOK_S": "5"}, ("heartbeat_ttl_s", "look_s"), id="web beats too far apart"),
        pytest.param(
            {"LIMITS__SESSION_TTL_S": "60"}, ("session_ttl_s", "resume_s"), id="forgotten before it resumes"
        ),
        pytest.param(
            {"PACING__TTS_AHEAD_S": "0.5"}, ("tts_ahead_s", "report_played_s"), id="ahead of too little"
        ),
        pytest.param(
            {"TURN__LONGEST_TURN_S": "31"},
            ("audio_keep_s", "longest_turn_s"),
            id="a turn longer than is kept",
        ),
        pytest.param({"PACING__LEAD_MS": "1500"}, ("tts_ahead_s", "lead_ms"), id="more is sent than is made"),
    ],
)
def test_settings_that_cannot_work_together_are_refused(
    values: dict[str, str], named: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"ANTIPHON_{name}", value)
    with pytest.raises(ConfigError) as refused:
        load("null")
    assert all(name in str(refused.value) for name in named), refused.value


@pytest.mark.parametrize("profile", profiles())
def test_what_profiles_say_agrees(profile: str) -> None:
    assert load(profile).profile == profile


def test_the_shortest_lease_that_three_renewals_allow_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_OWNERSHIP__LEASE_MS", "1200")
    assert load("null").ownership.lease_ms == 1200
