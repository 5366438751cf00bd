"""How much of a web process one client may take: a pure account, in seconds of a core."""

import pytest

from config.settings import SAMPLE_RATE
from config.tuning import LimitSettings
from web.dialects import base
from web.fair_share import LONGEST_PAUSE_S, TURN_S, FairShare, price_s
from web.items import Item


def test_who_asks_for_little_is_never_kept_waiting() -> None:
    share = FairShare(0.05, 0.25, 0.0)
    for number in range(3000):  # a minute of a conversation
        assert not share.spend(0.0001, number / 50), "but that others have their turn"


def test_others_have_their_turn_after_a_stretch() -> None:
    share = FairShare(0.05, 10.0, 0.0)
    assert share.spend(TURN_S / 2, 0.0) is None
    assert share.spend(TURN_S / 2, 0.0) == 0.0
    assert share.spend(TURN_S / 2, 0.0) is None


def test_beyond_the_burst_a_client_is_slowed_to_its_share() -> None:
    share, now_s, taken_s = FairShare(0.05, 0.25, 0.0), 0.0, 0.0
    while now_s < 100.0:
        taken_s += 0.01
        now_s += 0.01 + (share.spend(0.01, now_s) or 0.0)
    assert taken_s == pytest.approx(0.25 + 0.05 * 100.0, rel=0.05)


def test_what_others_do_for_a_client_counts() -> None:
    share = FairShare(0.1, 0.1, 0.0)
    share.charge(0.2)
    assert share.spend(0.0, 0.0) == pytest.approx(1.0)


def test_no_pause_is_without_end() -> None:
    share = FairShare(0.01, 0.01, 0.0)
    share.charge(60.0)
    assert share.spend(0.0, 0.0) == LONGEST_PAUSE_S


def test_a_debt_is_forgotten_in_time() -> None:
    share = FairShare(0.1, 0.1, 0.0)
    share.charge(0.2)
    share.spend(0.0, 0.0)
    assert share.spend(0.0, 100.0) is None


def test_sound_at_the_pace_of_speech_is_well_within_a_share() -> None:
    assert 4 * price_s(base.AppendAudio([b""], SAMPLE_RATE), 0) < LimitSettings().client_share


def test_replies_are_dear() -> None:
    assert price_s(base.CreateReply(), 0) > price_s(base.RetrieveItem("item"), 0)


def test_a_long_conversation_makes_requests_dearer() -> None:
    request = base.DeleteItem("item")
    assert price_s(request, 5_000_000) == pytest.approx(price_s(request, 0) + 0.1)


def test_items_that_are_to_be_listened_to_are_dearer() -> None:
    sound = base.AppendAudio([b""], 2 * SAMPLE_RATE)
    item = Item("user", "")
    silent, loud = base.AddItem(item), base.AddItem(item, sound=sound)
    assert price_s(loud, 0) > price_s(silent, 0) + price_s(sound, 0)
    assert (
        price_s(base.CreateReply(sounds=((0, sound), (1, sound))), 0) > price_s(base.CreateReply(), 0) + 0.01
    )
