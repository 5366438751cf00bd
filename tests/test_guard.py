"""Who may come in, where there are keys and where there are none: the judge, with a real Redis behind it."""

import dataclasses
import re
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import redis

from config import api_keys
from config import redis_keys as keys
from config.auth import AuthSettings
from config.errors import AntiphonError, KeyRefused, NotAllowed, OriginRefused, SessionUnknown, TooMany
from tasks import ephemeral
from tasks.ephemeral import Ephemeral
from tasks.leases import Leases
from tests.redis_server import Server
from web.guard import REALTIME, Guard, Knock
from web.keyring import Keyring
from web.limits import RETURNS_PER_MINUTE
from web.presence import Fate, Presence
from web.visitor import Visitor
from web.waiting import digest, waiting

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

MIB = 1 << 20


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
        ephemeral.keep(
            state, api_keys.digest(made), Ephemeral(key.mark, 0, {"instructions": "x"}), 60, 1000, MIB
        )
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
        return not ephemeral.keep(state, api_keys.digest(secret), Ephemeral(owner, 0), 60, 2, MIB)

    owner = api_keys.new_secret()
    assert [made(owner), made(owner), made(owner), made(f"not-{owner}")] == [True, True, False, True]


def test_the_sessions_of_one_key_s_ephemeral_keys_take_bounded_memory(state: redis.Redis) -> None:
    owner, most_bytes = api_keys.new_secret(), 1000

    def made(instructions: int) -> bool:
        secret = api_keys.new_secret(api_keys.EPHEMERAL_PREFIX)
        key = Ephemeral(owner, 0, {"instructions": "x" * instructions})
        return not ephemeral.keep(state, api_keys.digest(secret), key, 60, 10, most_bytes)

    assert [made(300), made(300), made(300), made(1)] == [True, True, False, True]
    owner = api_keys.new_secret()
    assert made(2000), "one is kept in any case"


def test_that_number_is_never_passed_however_many_ask_at_once(server: Server) -> None:
    owner = api_keys.new_secret()

    def made(_: int) -> int:
        with server.client(0) as state:
            digest = api_keys.digest(api_keys.new_secret())
            return ephemeral.keep(state, digest, Ephemeral(owner, 0), 60, 5, MIB)

    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(made, range(40)))
    assert waits.count(0) == 5
    assert all(0 < wait <= 60_000 for wait in waits if wait), "until the first of them expires"


def test_what_another_version_kept_of_an_ephemeral_key_is_no_key(state: redis.Redis) -> None:
    state.set(keys_name := f"ephemeral:{api_keys.digest('ek_old')}", b"\xc1", ex=60)
    assert ephemeral.find(state, api_keys.digest("ek_old")) is None
    state.delete(keys_name)


NO_LIMITS = {"address_sessions": 0, "address_starts_per_minute": 0, "address_requests_per_minute": 0}


@pytest.mark.parametrize("limits", [NO_LIMITS, {}])
def test_redis_is_asked_for_nobody_who_has_no_limit(limits: dict[str, int], server: Server) -> None:
    """The own machine needs no limit, and comes in by itself; others need none where there are none."""
    rules = AuthSettings(open=True, **limits)  # type: ignore[arg-type]

    def nobody() -> Shared:
        raise AssertionError("Redis was asked")

    judge = Guard(rules, Keyring(rules), nobody)
    for path in (REALTIME, "/v1/voices"):
        assert verdict(judge, knock(ELSEWHERE if limits else HERE, path=path)) == ""


# --- what comes of a key


def test_what_came_of_a_key_is_worth_nothing_with_a_later_key_of_its_name(
    guard: MakeGuard, state: redis.Redis, sid: str
) -> None:
    """To take a key back and give its name again is how a key that was lost is replaced."""
    lost, replacement = api_keys.new_key("me")[0], api_keys.new_key("me")[0]
    made = api_keys.new_secret(api_keys.EPHEMERAL_PREFIX)
    ephemeral.keep(state, api_keys.digest(made), Ephemeral(lost.mark, 0), 60, 1000, MIB)
    token = begun(state, sid, owner=lost.mark)
    asked = [knock(ELSEWHERE, made), knock(ELSEWHERE, token=token)]
    assert [verdict(guard(keys=str(lost)), one) for one in asked] == ["me", "me"]
    assert [verdict(guard(keys=str(replacement)), one) for one in asked] == [KeyRefused, KeyRefused]


def begun(state: redis.Redis, sid: str, *, owner: str = "", member: str = "m") -> str:
    """A session that can go on; its token."""
    fields = {keys.TOKEN: digest("secret"), keys.STATE: "x", keys.OWNER: owner, keys.MEMBER: member}
    Leases(state, 1000).create(sid, fields, 60)
    return f"{sid}.secret"


class Reading(Leases):
    """Notes what is asked for."""

    def __init__(self, state: redis.Redis) -> None:
        super().__init__(state, 1000)
        self.asked: list[str] = []

    def read(self, sid: str, fields: Sequence[str]) -> list[bytes | None]:
        self.asked += fields
        return super().read(sid, fields)


@pytest.mark.parametrize("secret", ["wrong", "", "secret"])
def test_nothing_of_a_session_is_read_for_a_wrong_token_so_that_it_takes_as_long_for_none(
    state: redis.Redis, sid: str, secret: str
) -> None:
    begun(state, sid)
    reading = Reading(state)
    if secret == "secret":
        assert waiting(reading, f"{sid}.{secret}").state == b"x"
        assert len(reading.asked) > 1
        return
    for shown in (f"{sid}.{secret}", f"nobody-{sid}.{secret}"):
        reading.asked.clear()
        with pytest.raises(SessionUnknown):
            waiting(reading, shown)
        assert reading.asked == [keys.TOKEN]


# --- limits


@pytest.fixture
def elsewhere() -> Visitor:
    """From an address that nobody had before."""
    return Visitor(
        peer=f"2001:db8:{secrets.randbits(16):x}:{secrets.randbits(16):x}::1", host="voice.example"
    )


def stays(guard: Guard, *asked: Knock) -> list[str]:
    """For each, whether it came in, and stays."""
    found = []
    for one in asked:
        try:
            guard.judge(one)
            found.append("in")
        except TooMany as error:
            found.append(re.split("which|;", str(error))[0].strip(" ,"))
    return found


def test_a_key_s_own_limits_go_before_the_settings(guard: MakeGuard, elsewhere: Visitor) -> None:
    key, secret = api_keys.new_key(f"own-{secrets.token_hex(4)}")
    few, slow, free = (
        dataclasses.replace(key, name=f"{key.name}-{number}", **limits)
        for number, limits in enumerate(({"sessions": 1}, {"starts_per_minute": 1}, {"sessions": 0}))
    )
    expected = {
        few: ["in", "this API key has 1 conversations at once"],
        slow: ["in", "this API key may begin 1 conversations a minute, and did"],
        free: ["in", "in"],
        key: ["in", "in"],
    }
    for limited, outcome in expected.items():
        keyed = guard(keys=str(limited), key_sessions=2)
        assert stays(keyed, knock(elsewhere, secret), knock(elsewhere, secret)) == outcome, str(limited)
    again = guard(keys=str(few), key_sessions=2)
    made = api_keys.new_secret(api_keys.EPHEMERAL_PREFIX)
    shared = again._shared()
    ephemeral.keep(shared.state, api_keys.digest(made), Ephemeral(few.mark, 0), 60, 10, MIB)
    assert stays(again, knock(elsewhere, made)) != ["in"], "nor do its ephemeral keys"


def test_conversations_that_wait_for_their_clients_count_and_come_back_beyond_the_limit(
    guard: MakeGuard, state: redis.Redis, new_sid: Callable[[], str], elsewhere: Visitor
) -> None:
    """Else one who loses connections on purpose could hold any number."""
    key, secret = api_keys.new_key(f"waits-{secrets.token_hex(4)}")
    keyed = guard(keys=str(key), key_sessions=2)
    tokens = []
    for _ in range(2):
        caller, stay = keyed.judge(knock(elsewhere, secret))
        assert stay is not None
        tokens.append(begun(state, new_sid(), owner=key.mark, member=caller.member))
        stay.fate = Fate.WAITS
        stay.leave()
    assert stays(keyed, knock(elsewhere, secret)) == ["this API key has 2 conversations at once"]
    assert stays(keyed, *(knock(elsewhere, token=token) for token in tokens * 2)) == ["in"] * 4
    stranger = begun(state, new_sid(), owner=key.mark, member="forgotten")
    assert stays(keyed, knock(elsewhere, token=stranger)) != ["in"], "others have its place"


def test_two_who_take_a_conversation_from_each_other_are_slowed_down(
    guard: MakeGuard, state: redis.Redis, sid: str, elsewhere: Visitor
) -> None:
    key, _ = api_keys.new_key("me")
    token = begun(state, sid, owner=key.mark, member=secrets.token_hex(4))
    found = stays(guard(keys=str(key)), *[knock(elsewhere, token=token)] * (RETURNS_PER_MINUTE + 1))
    assert found[:-1] == ["in"] * RETURNS_PER_MINUTE
    assert "may go on over 60 connections a minute" in found[-1]


def test_who_has_tried_too_many_keys_is_not_let_in_with_a_right_one_and_others_are(
    guard: MakeGuard, elsewhere: Visitor
) -> None:
    key, secret = api_keys.new_key("me")
    keyed = guard(keys=str(key), address_starts_per_minute=3)
    wrong = [verdict(keyed, knock(elsewhere, ANY_KEY, path=path)) for path in ("/v1/voices", REALTIME) * 2]
    assert wrong == [KeyRefused] * 3 + [TooMany]
    for path in (REALTIME, "/v1/voices"):
        assert verdict(keyed, knock(elsewhere, secret, path=path)) is TooMany
        other = dataclasses.replace(elsewhere, peer="198.51.100.254")
        assert verdict(keyed, knock(other, secret, path=path)) == "me"


@pytest.mark.parametrize("of", ["key", "address"])
def test_requests_have_limits_of_their_own(guard: MakeGuard, elsewhere: Visitor, of: str) -> None:
    key, secret = api_keys.new_key(f"asks-{secrets.token_hex(4)}")
    keyed = guard(keys=str(key), **{f"{of}_requests_per_minute": 2})
    asked = knock(elsewhere, secret, path="/v1/voices")
    assert [verdict(keyed, asked) for _ in range(3)] == [key.name, key.name, TooMany]
    assert verdict(keyed, knock(elsewhere, secret)) == key.name, "conversations have others"


class Away:
    """Redis does not answer."""

    def __getattr__(self, name: str) -> object:
        raise redis.ConnectionError("refused")


def test_without_redis_a_wrong_key_is_as_wrong_and_what_needs_no_redis_is_answered() -> None:
    key, secret = api_keys.new_key("me")
    rules = AuthSettings(keys=str(key))  # type: ignore[call-arg]
    judge = Guard(rules, Keyring(rules), Away)  # type: ignore[arg-type]
    for path in (REALTIME, "/v1/voices"):
        assert verdict(judge, knock(ELSEWHERE, ANY_KEY, path=path)) is KeyRefused
        assert verdict(judge, knock(ELSEWHERE, path=path)) is KeyRefused
    assert verdict(judge, knock(ELSEWHERE, secret, path="/v1/voices")) == "me"
    with pytest.raises(redis.ConnectionError):
        judge.judge(knock(ELSEWHERE, secret))


# --- pages


@pytest.mark.parametrize(
    ("host", "origins", "expected"),
    [
        ("evil.example:8000", (), OriginRefused),
        ("evil.example:8000", ("http://evil.example:8000",), ""),
        ("evil.example:8000", ("*",), ""),
        ("192.168.1.5:8000", (), ""),
        ("[2001:db8::5]:8000", (), ""),
        ("kitchen:8000", (), ""),
        ("kitchen.local:8000", (), ""),
        ("app.localhost:8000", (), ""),
    ],
)
def test_where_no_keys_are_asked_for_a_page_by_a_name_that_can_be_bought_is_named_by_the_operator(
    guard: MakeGuard, host: str, origins: tuple[str, ...], expected: object
) -> None:
    """DNS rebinding: the page's own name is made to point to this server, so that it is of the same origin."""
    page = dataclasses.replace(ELSEWHERE, host=host, origin=f"http://{host}")
    assert verdict(guard(open=True, origins=origins), knock(page)) == expected
    assert verdict(guard(open=True, origins=origins), knock(dataclasses.replace(page, origin=""))) == ""
    key, secret = api_keys.new_key("me")
    assert verdict(guard(keys=str(key)), knock(page, secret)) == "me", "it has no key of ours by itself"
