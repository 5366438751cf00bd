"""Who may come in, where there are keys and where there are none: the judge, with a real Redis behind it."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import redis

from config import api_keys
from config.auth import AuthSettings
from config.errors import AntiphonError, KeyRefused, NotAllowed, OriginRefused
from tasks import ephemeral
from tasks.ephemeral import Ephemeral
from tasks.leases import Leases
from tests.redis_server import Server
from web.guard import REALTIME, Guard, Knock
from web.keyring import Keyring
from web.presence import Presence
from web.visitor import Visitor

HERE = Visitor(peer="127.0.0.1", host="localhost:8000")
ELSEWHERE = Visitor(peer="192.0.2.7", host="voice.example")


@dataclass(frozen=True)
class Shared:
    """What of a web process the guard needs."""

    state: redis.Redis
    leases: Leases
    presence: Presence


MakeGuard = Callable[..., Guard]


@pytest.fixture
def guard(state: redis.Redis, media: redis.Redis) -> MakeGuard:
    shared = Shared(state, Leases(state, 1000), Presence(media, 120))

    def made(**rules: object) -> Guard:
        settings = AuthSettings(**rules)  # type: ignore[arg-type]
        return Guard(settings, Keyring(settings), lambda: shared)

    return made


def knock(visitor: Visitor, secret: str = "", token: str = "", path: str = REALTIME) -> Knock:
    return Knock(visitor, secret, token, path)


def verdict(guard: Guard, asked: Knock) -> type[AntiphonError] | str:
    """Why somebody is not let in, or by which key they are."""
    try:
        caller, stay = guard.judge(asked)
    except AntiphonError as error:
        return type(error)
    if stay is not None:
        stay.leave()
    return caller.key


ANY_KEY = "sk-any"


@pytest.mark.parametrize(
    ("visitor", "secret", "is_open", "expected"),
    [
        (HERE, "", False, ""),
        (HERE, ANY_KEY, False, ""),
        (HERE, "ek_unknown", False, KeyRefused),
        (ELSEWHERE, "", False, NotAllowed),
        (ELSEWHERE, ANY_KEY, False, NotAllowed),
        (Visitor(peer="127.0.0.1", host="localhost", by_proxy=True), "", False, NotAllowed),
        (Visitor(peer="127.0.0.1", host="evil.example"), "", False, NotAllowed),
        (ELSEWHERE, "", True, ""),
        (
            Visitor(peer="127.0.0.1", host="localhost", origin="https://evil.example"),
            "",
            False,
            OriginRefused,
        ),
        (Visitor(peer="127.0.0.1", host="localhost", origin="https://evil.example"), "", True, OriginRefused),
    ],
    ids=[
        "who is on this machine is let in",
        "an SDK that sends some key is, too",
        "an ephemeral key must be one",
        "who is elsewhere is not let in",
        "nor with some key",
        "nor through a proxy of this machine",
        "nor by a name that was made to point here",
        "unless the server is open to all",
        "but no page of another site is",
        "even then",
    ],
)
def test_without_keys_the_server_is_open_to_its_own_machine(
    guard: MakeGuard, visitor: Visitor, secret: str, is_open: bool, expected: object
) -> None:
    assert verdict(guard(open=is_open), knock(visitor, secret)) == expected
    assert verdict(guard(open=is_open), knock(visitor, secret, path="/v1/voices")) == expected


def test_who_is_refused_for_want_of_keys_is_told_what_the_operator_can_do(guard: MakeGuard) -> None:
    with pytest.raises(NotAllowed, match=r"antiphon keys new NAME.*ANTIPHON_AUTH__OPEN=true"):
        guard().judge(knock(ELSEWHERE))


def test_with_keys_nobody_comes_in_without_wherever_they_are_and_open_means_nothing(guard: MakeGuard) -> None:
    key, secret = api_keys.new_key("me")
    keyed = guard(keys=str(key), open=True)
    for visitor in (HERE, ELSEWHERE):
        assert verdict(keyed, knock(visitor)) is KeyRefused
        assert verdict(keyed, knock(visitor, ANY_KEY)) is KeyRefused
        assert verdict(keyed, knock(visitor, key.digest)) is KeyRefused
        assert verdict(keyed, knock(visitor, secret)) == "me"


def test_an_ephemeral_key_is_as_good_as_the_key_it_was_made_with(
    guard: MakeGuard, state: redis.Redis
) -> None:
    key, _ = api_keys.new_key("me")
    made = api_keys.new_secret(api_keys.EPHEMERAL_PREFIX)
    assert (
        ephemeral.keep(state, api_keys.digest(made), Ephemeral(key.mark, 0, {"instructions": "x"}), 60, 1000)
        == 0
    )
    asked = knock(ELSEWHERE, made)
    assert guard(keys=str(key)).judge(asked)[0].session == {"instructions": "x"}
    assert verdict(guard(keys=str(key)), knock(ELSEWHERE, made, path="/v1/voices")) is NotAllowed
    assert verdict(guard(keys=str(api_keys.new_key("you")[0])), asked) is KeyRefused, "its key was taken back"
    assert verdict(guard(open=True), asked) is KeyRefused, "and so were all"


def test_one_key_has_a_bounded_number_of_ephemeral_keys(state: redis.Redis) -> None:
    def made(owner: str) -> bool:
        secret = api_keys.new_secret(api_keys.EPHEMERAL_PREFIX)
        return not ephemeral.keep(state, api_keys.digest(secret), Ephemeral(owner, 0), 60, 2)

    owner = api_keys.new_secret()
    assert [made(owner), made(owner), made(owner), made(f"not-{owner}")] == [True, True, False, True]


def test_what_another_version_kept_of_an_ephemeral_key_is_no_key(state: redis.Redis) -> None:
    state.set(keys_name := f"ephemeral:{api_keys.digest('ek_old')}", b"\xc1", ex=60)
    assert ephemeral.find(state, api_keys.digest("ek_old")) is None
    state.delete(keys_name)


@pytest.mark.parametrize("limits", [{"address_sessions": 0, "address_starts_per_minute": 0}, {}])
def test_redis_is_asked_for_nobody_who_has_no_limit(limits: dict[str, int], server: Server) -> None:
    """The own machine needs no limit, and comes in by itself; others need none where there are none."""
    rules = AuthSettings(open=True, **limits)  # type: ignore[arg-type]

    def nobody() -> Shared:
        raise AssertionError("Redis was asked")

    judge = Guard(rules, Keyring(rules), nobody)
    assert verdict(judge, knock(ELSEWHERE if limits else HERE)) == ""
