"""API keys as they are written down, the file of them, and who a visitor is: pure, and the command that makes them."""

import dataclasses
import os
import stat
import tempfile
from ipaddress import ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cli.keys import add, read, remove
from cli.main import main
from config import api_keys
from config.auth import AuthSettings
from config.errors import ConfigError
from web.keyring import Keyring
from web.visitor import Visitor, key_of, who

ZEROS = "0" * 64

HERE = Visitor(peer="127.0.0.1", host="localhost:8000")


def replaced(**fields: object) -> Visitor:
    return dataclasses.replace(HERE, **fields)  # type: ignore[arg-type]


# --- keys


def test_a_key_is_found_by_what_was_kept_of_it_and_is_not_in_there() -> None:
    keys = [api_keys.new_key(name) for name in ("one", "two", "three")]
    kept = api_keys.parse("\n".join(str(key) for key, _ in keys), "here")
    for key, secret in keys:
        assert api_keys.matching(kept, secret) == key
        assert secret not in str(kept)
        assert len(secret) >= 46, "256 bits"


@given(st.text())
def test_nothing_else_is_a_key(secret: str) -> None:
    kept = (api_keys.new_key("one")[0], api_keys.ApiKey("two", api_keys.digest("")[:-1] + "x"))
    assert api_keys.matching(kept, secret) is None
    assert api_keys.matching(kept, kept[0].digest) is None, "what is kept is no key"


def test_keys_are_read_by_lines_or_commas_with_remarks() -> None:
    one, two, three = (str(api_keys.new_key(name)[0]) for name in ("one", "two", "three"))
    text = f"# ours\n{one}, {two}  # 2026-01-01\n\n  {three}\n"
    assert [key.name for key in api_keys.parse(text, "here")] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "line",
    [
        "me",
        "me:sha256:",
        "me:md5:" + "0" * 64,
        "me:sha256:" + "0" * 63,
        "a b:sha256:" + "0" * 64,
        "ak_secret",
        ":sha256:" + "0" * 64,
    ],
)
def test_a_line_that_is_no_key_is_named_but_not_shown(line: str) -> None:
    with pytest.raises(ConfigError, match=r"keys.txt, line 2: not NAME") as refused:
        api_keys.parse(f"# first\n{line}", "keys.txt")
    assert line not in str(refused.value)


def test_a_key_may_have_limits_of_its_own() -> None:
    key = dataclasses.replace(api_keys.new_key("me")[0], sessions=2, starts_per_minute=0)
    assert str(key).endswith(":sessions=2:starts_per_minute=0")
    assert api_keys.parse(f"{key}, {api_keys.new_key('you')[0]}", "here")[0] == key


@pytest.mark.parametrize(
    "limits", ["", "sessions=", "sessions=-1", "session=1", "sessions=1:sessions=2", "sessions=9999999"]
)
def test_a_limit_that_is_none_is_refused_with_the_key_s_name(limits: str) -> None:
    with pytest.raises(ConfigError, match="here, line 1: the limits of 'me' are written :sessions=5"):
        api_keys.parse(f"{api_keys.new_key('me')[0]}:{limits}", "here")


def test_a_file_from_windows_is_read() -> None:
    assert (
        len(api_keys.parse(f"\ufeff{api_keys.new_key('me')[0]}\r\n{api_keys.new_key('you')[0]}\r\n", "here"))
        == 2
    )


def test_a_name_is_given_once() -> None:
    with pytest.raises(ConfigError, match="line 2: there is a key 'me' already"):
        api_keys.parse(f"{api_keys.new_key('me')[0]}\n{api_keys.new_key('me')[0]}", "here")


# --- the file, while it changes


def test_a_key_is_in_force_as_soon_as_it_is_in_the_file_and_no_longer_than_that(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    first, second = api_keys.new_key("first")[0], api_keys.new_key("second")[0]
    file.write_text(f"{first}\n")
    ring = Keyring(AuthSettings(keys_file=file))  # type: ignore[call-arg]
    assert ring.keys == (first,)
    file.write_text(f"{first}\n{second}\n")
    assert ring.keys == (first, second)
    file.write_text("")
    assert ring.keys == ()


def test_a_second_change_that_looks_like_the_first_is_seen_a_little_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of a file system may tick every second."""
    file, now_s = tmp_path / "keys", 1_000_000
    one, two = api_keys.new_key("one")[0], api_keys.new_key("two")[0]
    monkeypatch.setattr("web.keyring.time.time_ns", lambda: now_s * 10**9)

    def written(key: api_keys.ApiKey) -> None:
        file.write_text(str(key))
        os.utime(file, (1_000_000, 1_000_000))

    written(one)
    ring = Keyring(AuthSettings(keys_file=file))  # type: ignore[call-arg]
    assert ring.keys == (one,)
    written(two)
    now_s += 2
    assert ring.keys == (two,)


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.data())
def test_whoever_reads_while_a_file_of_keys_is_written_never_finds_fewer_keys_than_are_left(
    few: list[bool], data: st.DataObject
) -> None:
    """Without a single key, a server asks for none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys"
        for number, limited in enumerate(few):
            add(file, f"key-{number}" * (number + 1), 5 if limited else None)
        before = file.read_bytes()
        names = [key.name for key in read(file)]
        remove(file, data.draw(st.sampled_from(names)))
        after, left = file.read_bytes(), {key.name for key in read(file)}
    written = data.draw(st.integers(0, len(after)))
    seen = after[:written] + before[written:]
    try:
        found = {key.name for key in api_keys.parse(seen.decode(), "here")}
    except ConfigError:
        return  # and all stays as it was
    assert left <= found


def test_the_last_key_that_is_taken_back_is_worth_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    where = ("--file", str(tmp_path / "keys"))
    assert antiphon("keys", "new", "me", *where).exit_code == 0
    ring = Keyring(AuthSettings(keys_file=tmp_path / "keys"))  # type: ignore[call-arg]
    assert len(ring.keys) == 1
    assert "no key is left" in antiphon("keys", "remove", "me", *where).stderr
    assert ring.keys == ()
    assert "the last API key was taken back" in caplog.text


def test_a_file_that_others_may_write_is_worth_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    for mode in (0o600, 0o640, 0o664):
        file.touch()
        file.chmod(mode)
        Keyring(AuthSettings(keys_file=file)).check()  # type: ignore[call-arg]
        assert ("others than its owner may write" in caplog.text) is (mode == 0o664)


def test_a_file_that_is_broken_or_gone_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    key, secret = api_keys.new_key("first")
    file.write_text(str(key))
    ring = Keyring(AuthSettings(keys_file=file))  # type: ignore[call-arg]
    ring.check()
    file.write_text(f"{key}\n{secret}\n")
    assert ring.keys == ring.keys == (key,)
    file.unlink()
    assert ring.keys == (key,)
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 2, "once each"
    assert secret not in "".join(said)
    file.write_text("")
    assert ring.keys == ()


@pytest.mark.parametrize("text", [None, "ak_written-into-the-file"])
def test_a_server_does_not_start_without_the_file_it_was_told_of(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text)
    ring = Keyring(AuthSettings(keys_file=file))  # type: ignore[call-arg]
    for _ in range(2):
        with pytest.raises(ConfigError, match="keys") as refused:
            ring.check()
        assert "ak_" not in str(refused.value)
    with pytest.raises(ConfigError):
        _ = ring.keys


def test_keys_of_a_variable_and_of_a_file_go_together(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    filed, said = api_keys.new_key("filed")[0], api_keys.new_key("said")[0]
    file.write_text(str(filed))
    assert set(Keyring(AuthSettings(keys_file=file, keys=str(said))).keys) == {filed, said}  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="has the name of one of"):
        Keyring(AuthSettings(keys_file=file, keys=str(filed))).check()  # type: ignore[call-arg]


# --- the command


def antiphon(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_key_is_made_listed_and_taken_back(tmp_path: Path) -> None:
    file = tmp_path / "data" / "api-keys"
    where = ("--data-dir", str(tmp_path / "data"))
    made = antiphon("keys", "new", "phone-bridge", *where)
    secret = made.stdout.strip()
    assert made.exit_code == 0, made.output
    assert antiphon("keys", "new", "other", *where).exit_code == 0
    assert secret not in file.read_text()
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    ring = Keyring(AuthSettings(keys_file=file))  # type: ignore[call-arg]
    found = api_keys.matching(ring.keys, secret)
    assert found is not None
    assert found.name == "phone-bridge"
    assert antiphon("keys", "list", *where).stdout.split() == ["phone-bridge", "other"]
    assert antiphon("keys", "remove", "phone-bridge", *where).exit_code == 0
    assert antiphon("keys", "list", *where).stdout.split() == ["other"]
    assert api_keys.matching(ring.keys, secret) is None


def test_a_key_gets_limits_and_others_and_those_of_the_settings_again(tmp_path: Path) -> None:
    where = ("--file", str(tmp_path / "keys"))
    antiphon("keys", "new", "other", *where)
    assert (
        antiphon("keys", "new", "trial", "--sessions", "2", "--starts-per-minute", "10", *where).exit_code
        == 0
    )
    listed = []
    for limits in ((), ("--sessions", "5"), ("--starts-per-minute", "0")):
        if limits:
            assert antiphon("keys", "limit", "trial", *limits, *where).exit_code == 0
        listed += antiphon("keys", "list", *where).stdout.splitlines()
    assert listed == [
        "other", "trial sessions=2 starts_per_minute=10", "other", "trial sessions=5",
        "other", "trial starts_per_minute=0",
    ]  # fmt: skip
    assert "trial: the settings' limits" in antiphon("keys", "limit", "trial", *where).stderr
    (_, trial) = read(tmp_path / "keys")
    assert trial.limits == []
    said = antiphon("keys", "new", "me", "--hash", "--sessions", "3", *where)
    assert said.stderr.rstrip().endswith(":sessions=3")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("limit", "you", "--sessions", "1"), "has no key 'you'; there are me"),
        (("new", "me"), "has a key 'me' already"),
        (("new", "so, many"), "no name for a key"),
        (("remove", "you"), "has no key 'you'; there are me"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    file = tmp_path / "keys"
    antiphon("keys", "new", "me", "--file", str(file))
    before = file.read_text()
    said = antiphon("keys", *arguments, "--file", str(file))
    assert said.exit_code == 2
    assert why in said.output
    assert "Traceback" not in said.output
    assert file.read_text() == before


def test_a_hash_for_a_variable_is_shown_and_nothing_written(tmp_path: Path) -> None:
    said = antiphon("keys", "new", "me", "--hash", "--file", str(tmp_path / "keys"))
    (kept,) = api_keys.parse(said.stderr.splitlines()[-1], "stderr")
    assert api_keys.matching([kept], said.stdout.strip()) == kept
    assert not (tmp_path / "keys").exists()


# --- who knocks


@pytest.mark.parametrize(
    ("authorization", "offered", "key"),
    [
        ("Bearer K", (), "K"),
        ("bearer  K", (), "K"),
        ("Basic K", (), ""),
        ("Basic K", ("openai-insecure-api-key.L",), "L"),
        ("Bearer", ("openai-insecure-api-key.L",), ""),
        ("", ("realtime", "openai-insecure-api-key.K", "openai-agents-sdk.0.1"), "K"),
        ("Bearer K", ("openai-insecure-api-key.L",), "K"),
        ("", ("realtime",), ""),
    ],
)
def test_a_key_comes_by_header_or_subprotocol(authorization: str, offered: tuple[str, ...], key: str) -> None:
    assert key_of(authorization, offered) == key


@pytest.mark.parametrize(
    ("visitor", "local"),
    [
        (HERE, True),
        (replaced(peer="::1", host="[::1]:8000"), True),
        (replaced(peer="::ffff:127.0.0.1"), True),
        (replaced(peer="127.0.0.7", host="127.0.0.7"), True),
        (replaced(host="app.localhost:8000"), True),
        (replaced(peer="192.0.2.7"), False),
        (replaced(peer=""), False),
        (replaced(by_proxy=True), False),
        (replaced(host="evil.example:8000", origin="http://evil.example:8000"), False),
        (replaced(host=""), False),
        (replaced(host="[::1"), False),
    ],
)
def test_only_who_is_on_this_machine_and_calls_it_so_is_local(visitor: Visitor, local: bool) -> None:
    assert visitor.is_local() is local


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "may"),
    [
        ("", "voice.example", (), True),
        ("https://voice.example", "voice.example", (), True),
        ("https://voice.example:443", "voice.example", (), True),
        ("http://localhost:8000", "localhost:8000", (), True),
        ("http://localhost:5173", "localhost:8000", (), True),
        ("http://localhost:5173", "voice.example", (), False),
        ("http://localhost.evil.example", "localhost:8000", (), False),
        ("https://voice.example.evil", "voice.example", (), False),
        ("null", "voice.example", (), False),
        ("file://", "voice.example", (), False),
        ("http://[bad", "voice.example", (), False),
        ("https://app.example", "voice.example", ("https://app.example",), True),
        ("https://APP.example", "voice.example", ("https://app.example/",), True),
        ("http://app.example", "voice.example", ("https://app.example",), False),
        ("null", "voice.example", ("*",), True),
    ],
)
def test_a_page_may_talk_to_where_it_came_from_and_where_it_is_allowed(
    origin: str, host: str, allowed: tuple[str, ...], may: bool
) -> None:
    assert replaced(origin=origin, host=host).may_come_from(allowed) is may


def test_a_page_of_a_machine_elsewhere_that_calls_itself_localhost_may_not() -> None:
    page = {"origin": "http://localhost:5173", "host": "localhost:8000"}
    assert replaced(**page).may_come_from(())
    assert not replaced(**page, peer="192.0.2.7").may_come_from(())
    assert not replaced(**page, by_proxy=True).may_come_from(())


PROXIES = (ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
        ("10.0.0.2", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.2", "203.0.113.5, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.2", "198.51.100.9, 10.0.0.3", "198.51.100.9"),
        ("10.0.0.2", "198.51.100.9:4711", "198.51.100.9"),
        ("10.0.0.2", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.2", "nonsense", "10.0.0.2"),
        ("10.0.0.2", "", "10.0.0.2"),
    ],
)
def test_only_our_proxies_are_believed_where_a_client_is(peer: str, forwarded: str, address: str) -> None:
    assert replaced(peer=peer, forwarded=forwarded).address(PROXIES) == address


def test_all_addresses_of_one_ipv6_network_are_one() -> None:
    assert who("2001:db8:1:2:3::4") == who("2001:db8:1:2::ffff") != who("2001:db8:1:3::4")
    assert who("::ffff:192.0.2.1") == who("192.0.2.1") == "address/192.0.2.1"
