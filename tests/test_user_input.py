"""The newest of what a user said, in case the media server loses it: no more than is of use."""

from config.messages import Audio, InEntry
from config.settings import SAMPLE_RATE
from web.intake import Intake
from web.user_input import UserInput

KEEP_S = 5.0


def test_minutes_of_sound_in_a_moment_are_not_all_kept() -> None:
    sent: list[InEntry] = []
    intake = Intake(lambda entries, _: sent.extend(entry for _, entry in entries))
    user = UserInput("s", intake, KEEP_S, 0)
    for _ in range(100):
        user.hear([bytes(2 * SAMPLE_RATE)], SAMPLE_RATE, None)
    kept = [entry for entry in user._recent() if isinstance(entry, Audio)]
    assert sum(len(entry.packets[0]) for entry in kept) <= KEEP_S * 2 * SAMPLE_RATE
    assert kept[-1].pos == 99 * SAMPLE_RATE, "the newest is among it"
