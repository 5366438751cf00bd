"""Limits of keys and addresses, against a real Redis."""

import secrets
from collections.abc import Callable, Mapping, Sequence

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from config import redis_keys as keys
from config.errors import TooMany
from tasks.quotas import Quota, Quotas
from web.presence import Fate, Presence

HOLD_MS = 60_000


@pytest.fixture
def quotas(media: redis.Redis) -> Quotas:
    return Quotas(media, HOLD_MS)


@pytest.fixture
def name() -> str:
    """Of nobody before."""
    return f"key/{secrets.token_hex(6)}"


def live(media: redis.Redis, who: str) -> set[str]:
    return {member.decode() for member in media.zrange(keys.quota_live(who), 0, -1)}


def test_so_many_at_once_and_another_when_one_has_gone(quotas: Quotas, name: str) -> None:
    two = [Quota(name, 2, 0)]
    assert quotas.enter("a", two) is None
    assert quotas.enter("b", two) is None
    excess = quotas.enter("c", two)
    assert excess is not None
    assert (excess.of, excess.quota) == ("live", two[0])
    quotas.leave("a", two)
    assert quotas.enter("c", two) is None


def test_so_many_in_a_minute_and_then_one_at_a_time(quotas: Quotas, media: redis.Redis, name: str) -> None:
    thirty = [Quota(name, 0, 30)]
    entered = [quotas.enter(str(number), thirty) for number in range(32)]
    assert entered[:30] == [None] * 30
    assert entered[30] is not None
    assert (entered[30].of, entered[30].retry_after_s) == ("rate", 2)
    until_ms = float(media.get(keys.quota_rate(name)) or 0)
    media.set(keys.quota_rate(name), until_ms - 2000)  # two seconds later
    assert quotas.enter("later", thirty) is None
    assert quotas.enter("at once again", thirty) is not None


def test_who_is_refused_for_one_name_counts_for_none(quotas: Quotas, media: redis.Redis, name: str) -> None:
    roomy, full = Quota(name, 5, 5), Quota(f"{name}-full", 1, 0)
    assert quotas.enter("a", [full]) is None
    excess = quotas.enter("b", [roomy, full])
    assert excess is not None
    assert excess.quota == full
    assert live(media, roomy.who) == set()
    assert media.get(keys.quota_rate(roomy.who)) is None


def test_who_goes_on_is_let_in_although_the_limit_is_reached_and_counts_once(
    quotas: Quotas, name: str
) -> None:
    two = [Quota(name, 2, 0)]
    assert [quotas.enter(member, two) for member in ("a", "b")] == [None, None]
    assert quotas.enter("c", two) is not None
    assert quotas.enter("a", two) is None, "it is counted already"
    quotas.leave("a", two)
    assert quotas.enter("c", two) is None
    excess = quotas.enter("a", two)
    assert excess is not None, "others have its place"
    assert excess.of == "live"


def test_what_costs_nothing_is_refused_where_one_more_would_be_and_pays_for_nothing(
    quotas: Quotas, media: redis.Redis, name: str
) -> None:
    look, try_ = [Quota(name, 0, 2, 0)], [Quota(name, 0, 2)]
    for _ in range(3):
        assert quotas.enter("", look) is None
    assert media.get(keys.quota_rate(name)) is None
    assert [quotas.enter("", try_) for _ in range(2)] == [None, None]
    assert quotas.enter("", look) is not None
    assert quotas.enter("", try_) is not None


def test_a_process_that_died_is_forgotten_with_all_its_connections(
    quotas: Quotas, media: redis.Redis, name: str
) -> None:
    one = [Quota(name, 1, 0)]
    assert quotas.enter("a", one) is None
    media.zadd(keys.quota_live(name), {"a": 1})  # as if its deadline had passed
    assert quotas.enter("b", one) is None
    assert live(media, name) == {"b"}
    assert 0 < media.pttl(keys.quota_live(name)) <= 2 * HOLD_MS, "nothing stays for ever"


def test_what_takes_no_time_is_counted_by_its_rate_alone(
    quotas: Quotas, media: redis.Redis, name: str
) -> None:
    one = [Quota(name, 1, 2)]
    assert quotas.enter("", one) is None
    assert quotas.enter("", one) is None
    assert quotas.enter("", one) is not None
    assert live(media, name) == set()
    assert 0 < media.pttl(keys.quota_rate(name)) <= 60_000


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave"]), st.sampled_from("abcdef")), max_size=30))
def test_in_any_history_there_are_never_more_than_the_limit(
    media: redis.Redis, history: list[tuple[str, str]]
) -> None:
    quota = Quota(f"key/{secrets.token_hex(6)}", 3, 0)
    quotas, inside = Quotas(media, HOLD_MS), set[str]()
    for what, member in history:
        if what == "enter" and member not in inside:
            entered = quotas.enter(member, [quota]) is None
            assert entered is (len(inside) < 3)
            inside |= {member} if entered else set()
        elif what == "leave":
            quotas.leave(member, [quota])
            inside.discard(member)
        assert live(media, quota.who) == inside


def test_those_who_are_here_stay_counted_although_the_server_forgot_them(
    media: redis.Redis, name: str
) -> None:
    presence, one = Presence(media, 120), [Quota(name, 1, 0)]
    stay = presence.enter("a", one)
    media.delete(keys.quota_live(name))  # a server that came back empty
    presence.keep()
    with pytest.raises(TooMany, match="this API key has 1 conversations at once") as refused:
        presence.enter("b", one)
    assert refused.value.retry_after_s > 0
    stay.leave()
    stay.leave()
    presence.keep()
    presence.enter("b", one).leave()
    assert live(media, name) == set()


class Interrupted(Quotas):
    """Somebody leaves after it was decided who is kept, and before the server is told."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def keep(self, members: Mapping[str, Sequence[str]], for_ms: int = 0) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        super().keep(members, for_ms)


def test_who_leaves_while_the_others_are_kept_is_not_put_back(media: redis.Redis, name: str) -> None:
    presence, two = Presence(media, 120), [Quota(name, 2, 0)]
    presence._quotas = interrupted = Interrupted(media, HOLD_MS)
    first, second = presence.enter("a", two), presence.enter("b", two)
    interrupted.meanwhile = first.leave
    presence.keep()
    assert live(media, name) == {second.member}


def until_s(media: redis.Redis, who: str, member: str) -> float:
    """How much longer it counts."""
    seconds, micros = media.time()
    return (media.zscore(keys.quota_live(who), member) or 0) / 1000 - seconds - micros / 1e6


@pytest.mark.parametrize("late", [False, True], ids=["at once", "while the others are kept"])
def test_who_may_come_back_counts_until_then_and_who_goes_on_elsewhere_counts_there(
    media: redis.Redis, name: str, late: bool
) -> None:
    presence, three = Presence(media, 120), [Quota(name, 3, 0)]
    presence._quotas = interrupted = Interrupted(media, HOLD_MS)
    stays = [presence.enter(member, three) for member in "abc"]
    for stay, fate in zip(stays, (Fate.OVER, Fate.WAITS, Fate.ELSEWHERE), strict=True):
        stay.fate = fate
    if late:
        interrupted.meanwhile = lambda: [stay.leave() for stay in stays] and None  # type: ignore[func-returns-value]
        presence.keep()
    else:
        for stay in stays:
            stay.leave()
    presence.keep()
    assert live(media, name) == {"b", "c"}
    assert until_s(media, name, "b") == pytest.approx(120, abs=5)
    assert 0 < until_s(media, name, "c") <= HOLD_MS / 1000, "its process keeps it, if it lives"
    assert media.ttl(keys.quota_live(name)) > 120
    assert [presence.enter(member, three).member for member in "bcd"] == ["b", "c", "d"]
    with pytest.raises(TooMany):
        presence.enter("e", three)
