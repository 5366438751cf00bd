"""The operator's commands without a stack: what they make of what Redis says, and what they say of bad input."""

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from cli import columns, fleet_picture, local_run, status
from cli.drain import Farewell, unknown
from cli.fleet_picture import Picture, Queue
from cli.main import main
from cli.voices import report
from config import redis_keys as keys
from config.settings import load
from config.versions import VERSION
from tasks import beats, fleet
from tasks.fleet import Member
from tasks.leases import Leases
from tasks.redis_check import Facts
from tasks.sessions import listed
from tests.redis_server import Server

ALL = ("web", "stt", "llm", "tts")


def member(stage: str, **others: object) -> Member:
    plain = Member(
        stage=stage, name=f"host-{stage}", host="host", pid=7, gpu="", model="null", speaks=VERSION,
        slots=0 if stage == "web" else 4, free=0 if stage == "web" else 3, draining=False, refused="", age_s=0.2,
    )  # fmt: skip
    said = replace(plain, **others)  # type: ignore[arg-type]
    return said if "taken" in others else replace(said, taken=said.slots - said.free)


FIT = Facts(version=(8, 0, 1), used_bytes=3 << 20, most_bytes=512 << 20, policy="noeviction")


def picture(*members: Member, queue: Queue | None = None, facts: Facts = FIT, held: int = 0) -> Picture:
    return Picture(members, (queue or Queue("stt", 0, None),), {"state": facts}, held)


def door(**others: object) -> Member:
    """A web process that says what it reserves."""
    return member("web", **{"llm_share": 0.35, "tts_share": 0.5, **others})


def antiphon(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


# --- the picture


def test_a_fleet_in_which_every_stage_takes_work_has_no_troubles() -> None:
    assert not fleet_picture.troubles(picture(*map(member, ALL)), "here")


@pytest.mark.parametrize(
    ("seen", "trouble"),
    [
        (picture(*map(member, ("web", "stt", "llm"))), "no worker of tts takes anything"),
        (picture(*map(member, ("stt", "llm", "tts"))), "no web process takes anything"),
        (
            picture(*map(member, ("web", "stt", "llm")), member("tts", draining=True)),
            "no worker of tts takes anything",
        ),
        (
            picture(*map(member, ALL), member("tts", name="old", speaks=VERSION + 2)),
            f"old speaks version {VERSION + 2} of our messages",
        ),
        (
            picture(*map(member, ALL), member("tts", refused="of another planet")),
            "host-tts (tts) was refused: of another planet",
        ),
        (
            picture(
                *map(member, ("stt", "llm", "tts")),
                member("web", closed="the server's memory is nearly full"),
            ),
            "host-web lets nobody in: the server's memory is nearly full",
        ),
        (picture(*map(member, ALL), queue=Queue("tts", 3, 61.0)), "the queue tts is stuck for 61 s"),
        (
            picture(*map(member, ALL), facts=replace(FIT, policy="allkeys-lru")),
            "the state Redis throws data away",
        ),
    ],
    ids=[
        "nobody speaks",
        "nobody answers the door",
        "who drains takes nothing",
        "too new a worker",
        "a worker that was refused",
        "a door that is closed",
        "a task that nobody takes",
        "a Redis that forgets",
    ],
)
def test_a_trouble_is_told_in_one_line(seen: Picture, trouble: str) -> None:
    (said,) = fleet_picture.troubles(seen, "here")
    assert said.startswith(trouble)


def test_a_task_that_has_just_come_is_no_trouble() -> None:
    assert not fleet_picture.troubles(picture(*map(member, ALL), queue=Queue("tts", 3, 0.4)), "here")


def test_the_table_has_a_line_for_each_worker_and_for_each_stage_that_nobody_serves() -> None:
    said = fleet_picture.lines(
        picture(member("web", sessions=5, waiting=2), member("stt", gpu="1", free=0), member("tts"))
    )
    rows = [line.split() for line in said]
    assert ["stt", "host-stt", "host", "1", "null", str(VERSION), "4", "0", "full", "0.2", "s"] in rows
    assert ["tts", "host-tts", "host", "-", "null", str(VERSION), "1", "3", "ready", "0.2", "s"] in rows
    assert next(row for row in rows if row[:1] == ["llm"])[-2] == "nobody"
    assert (
        "sessions: 5, of which 2 wait for a place; no web process says for how many more there is room"
        in said
    )
    assert ["state", "Redis", "8.0.1", "3.0", "MB", "of", "512", "MB"] in rows


# --- room for more sessions


def test_the_room_is_what_the_tightest_stage_leaves() -> None:
    seen = picture(
        door(), *(member(stage, slots=slots) for stage, slots in (("stt", 9), ("llm", 4), ("tts", 4))), held=3
    )
    assert seen.room is not None
    assert (seen.room.sessions, seen.room.bound_by) == (5, "tts")
    assert seen.room.stages == {"stt": 6, "llm": 8, "tts": 5}
    assert any(line.endswith("; room for 5 more: tts is the tightest") for line in fleet_picture.lines(seen))
    assert ["stt", "0", "-", "6"] in [line.split() for line in fleet_picture.lines(seen)]
    assert fleet_picture.document(seen, [])["room"]["stages"]["llm"] == 8


def test_a_fleet_with_more_sessions_than_slots_has_no_room_and_no_debts() -> None:
    lost_some = picture(door(), *map(member, ("stt", "llm", "tts")), held=9)
    assert lost_some.room is not None and lost_some.room.sessions == 0
    assert set(lost_some.room.stages.values()) == {0, 2}


def test_a_stage_that_sessions_do_without_has_room_for_any_number() -> None:
    quiet = picture(door(tts_share=0.0), *map(member, ("stt", "llm")), member("tts", slots=1))
    assert quiet.room is not None and quiet.room.stages["tts"] is None and quiet.room.bound_by == "stt"
    nobody = picture(door(), *map(member, ("stt", "llm")))
    assert nobody.room is not None and (nobody.room.sessions, nobody.room.bound_by) == (0, "tts")


def test_doors_that_reserve_differently_are_believed_for_the_more_careful() -> None:
    doors = door(), door(name="new", tts_share=1.0), door(name="gone", tts_share=0.01, draining=True)
    seen = picture(*doors, *map(member, ("stt", "llm", "tts")))
    assert seen.room is not None and seen.room.stages["tts"] == 4


def test_a_deployment_whose_doors_are_all_closed_has_no_room() -> None:
    full = "the server's memory is nearly full"
    workers = [member(stage) for stage in ("stt", "llm", "tts")]
    closed = picture(door(closed=full), *workers).room
    assert closed is not None and closed.sessions == 0 and str(closed) == f"nobody is let in: {full}"
    half = picture(door(closed=full), door(name="other"), *workers).room
    assert half is not None and half.sessions == 4 and "room for 4 more" in str(half)


@pytest.mark.parametrize(
    ("spoken", "said"),
    [((VERSION,), f": {VERSION}"), ((VERSION - 1, VERSION), "an update is under way"), ((), "nobody speaks")],
)
def test_a_mix_of_versions_is_shown(spoken: tuple[int, ...], said: str) -> None:
    mixed = picture(*(member("stt", name=f"w{version}", speaks=version) for version in spoken))
    assert said in fleet_picture.lines(mixed)[-1]
    assert mixed.versions == list(spoken)


def test_what_beats_and_waits_on_a_server_is_in_the_picture(
    state: redis.Redis, media: redis.Redis, server: Server, new_sid: Callable[[], str]
) -> None:
    name = new_sid()
    beats.beat(state, "tts", name, {**fleet.introduction(), "slots": 9, "free": 2, "gpu": "1"}, 60)
    try:
        taken = fleet_picture.take(state, media)
        document = fleet_picture.document(taken, fleet_picture.troubles(taken, "here"))
        (found,) = [
            one for one in document["services"] if one["name"] == name
        ]  # of a release without `taken`
        assert (found["taken"], found["free"], found["gpu"], found["state"]) == (7, 2, "1", "ready")
        assert set(document["redis"]) == {"state", "media"}
        assert document["well"] is not bool(document["troubles"])
        json.dumps(document)
    finally:
        beats.retire(state, "tts", name)


def test_a_queue_shows_how_long_its_oldest_task_waits(
    state: redis.Redis, media: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_picture, "QUEUES", ("operators-queue",))
    key = keys.queue_lists("operators-queue")[0]
    asked_s = state.time()[0] - 100
    state.lpush(key, json.dumps({"headers": {"asked_s": asked_s}}))
    try:
        (queue,) = fleet_picture.take(state, None).queues
        assert queue.length == 1
        assert queue.oldest_s is not None and 99 < queue.oldest_s < 110
    finally:
        state.delete(key)


# --- how it is drawn


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    assert columns.table(("A", "B"), [("long one", "x"), ("s", "")]) == ["A         B", "long one  x", "s"]


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "-"), (0.04, "0.0 s"), (42.4, "42 s"), (600.0, "10 min"), (9000.0, "2.5 h")],
)
def test_times_are_said_as_people_say_them(value: float | None, said: str) -> None:
    assert columns.seconds(value) == said


def test_a_screen_holds_no_more_than_fits_and_leaves_nothing_of_what_was_there() -> None:
    drawn = status.screen(["first", "a line that is too long", "third"], width=10, height=2)
    assert drawn == "\x1b[Hfirst\x1b[K\r\na line th…\x1b[K\x1b[J"


def test_what_is_wrong_stands_where_a_small_screen_shows_it() -> None:
    said = ["up", "", "SERVICE", "! tts is down", "! no worker of tts takes anything"]
    assert status.troubles_first(said) == [*said[3:], "", *said[:3]]


# --- status, sessions and drain of what is not there


def test_status_of_nothing_says_how_to_name_a_deployment(tmp_path: Path) -> None:
    ran = antiphon("status", "--data-dir", str(tmp_path))
    assert ran.exit_code == status.NOT_WELL
    assert ran.stdout == f"nothing runs on {tmp_path}\n"
    assert "--redis-url" in ran.stderr
    assert json.loads(antiphon("status", "--json", "--data-dir", str(tmp_path)).stdout)["well"] is False


@pytest.mark.parametrize(
    "command",
    [["status"], ["sessions", "list"], ["sessions", "end", "x"], ["drain", "x"]],
    ids=" ".join,
)
def test_a_redis_that_is_not_there_is_named_without_its_password(command: list[str]) -> None:
    url = "redis://:secret@127.0.0.1:1/0"
    ran = antiphon(*command, "--redis-url", url, "--media-url", url)
    assert ran.exit_code == 2
    assert "the Redis server 127.0.0.1:1 does not answer" in ran.stderr
    assert "secret" not in ran.output and len(ran.stderr.splitlines()) == 1


def test_a_wrong_password_is_told_as_such(server: Server) -> None:
    url = f"redis://:wrong@127.0.0.1:{server.port}/0"
    ran = antiphon("status", "--redis-url", url)
    assert ran.exit_code == 2
    assert "password" in ran.stderr and "wrong" not in ran.stderr


@pytest.mark.parametrize("command", [["sessions", "list"], ["drain", "x"]], ids=lambda command: command[0])
def test_a_command_without_a_deployment_says_how_to_name_one(command: list[str], tmp_path: Path) -> None:
    ran = antiphon(*command, "--data-dir", str(tmp_path))
    assert ran.exit_code == 2 and "--redis-url" in ran.stderr


def test_one_server_is_not_enough_where_both_are_needed(server: Server) -> None:
    ran = antiphon("drain", "x", "--redis-url", server.url(0))
    assert ran.exit_code == 2 and "--media-url" in ran.stderr


def test_drain_of_an_unknown_worker_lists_those_there_are(
    server: Server, state: redis.Redis, new_sid: Callable[[], str]
) -> None:
    name = new_sid()
    beats.beat(state, "tts", name, fleet.introduction(), 60)
    try:
        ran = antiphon("drain", "nobody", "--redis-url", server.url(0), "--media-url", server.url(1))
        assert ran.exit_code == 2
        assert "there is no worker 'nobody'" in ran.stderr and f"{name} (tts)" in ran.stderr
    finally:
        beats.retire(state, "tts", name)


def test_a_web_process_is_not_drained_but_stopped() -> None:
    assert "SIGTERM" in unknown("host-web", [member("web")])


def test_an_end_of_an_unknown_session_is_no_success(server: Server) -> None:
    urls = ("--redis-url", server.url(0), "--media-url", server.url(1))
    ran = antiphon("sessions", "end", "no-such-session", *urls)
    assert ran.exit_code == 1 and "antiphon sessions list" in ran.stderr


def test_all_sessions_of_a_key_end_and_no_others(server: Server, new_sid: Callable[[], str]) -> None:
    urls = ("--redis-url", server.url(0), "--media-url", server.url(1))
    name = f"leaver-{secrets.token_hex(4)}"
    marks = {new_sid(): mark for mark in (f"{name}:0123", f"{name}:4567", f"{name}s:0123", "")}
    with server.client(0) as state:
        for sid, mark in marks.items():
            Leases(state, 1).create(sid, {keys.REPLY: 0, keys.OWNER: mark}, 60)
        ran = antiphon("sessions", "end", "--key", name, *urls)
        assert ran.exit_code == 0 and ran.stdout.count("is ended") == 2
        open_ = {one.sid: one.key for one in listed(state)}
    assert [open_.get(sid) for sid in marks] == [None, None, f"{name}s", ""]
    ran = antiphon("sessions", "end", "--key", name, *urls)
    assert ran.exit_code == 1 and f"there is no session of the key '{name}'" in ran.stderr
    for arguments in ((), ("x", "--key", name)):
        assert antiphon("sessions", "end", *arguments, *urls).exit_code == 2


def test_a_reason_that_fits_no_close_frame_is_refused(server: Server) -> None:
    urls = ("--redis-url", server.url(0), "--media-url", server.url(1))
    ran = antiphon("sessions", "end", "x", "--reason", "é" * 51, *urls)
    assert ran.exit_code == 2 and "102 bytes" in ran.stderr


# --- a worker that was told to drain


def told(*looks: list[Member]) -> tuple[list[str], Farewell]:
    farewell = Farewell("host-tts")
    return [farewell.note(look, float(at)) for at, look in enumerate(looks)], farewell


def test_a_worker_that_drains_is_watched_to_its_end() -> None:
    at_work, draining = [member("tts")], [member("tts", draining=True)]
    said, farewell = told(at_work, draining, draining, [member("stt")])
    assert [bool(line) for line in said] == [False, True, False, True]
    assert farewell.over and said[-1] == "host-tts has ended after 3.0 s"


def test_a_new_worker_of_the_same_name_is_not_taken_for_the_old_one() -> None:
    said, farewell = told([member("tts", draining=True)], [member("tts")])
    assert farewell.over and said[-1].endswith("a new worker has its name")


def test_what_is_left_to_do_is_told_whenever_it_is_less() -> None:
    def draining(llm: int, tts: int) -> list[Member]:
        return [
            member("llm", name="host-tts", draining=True, taken=llm),
            member("tts", draining=True, taken=tts),
        ]

    said, _ = told(draining(1, 3), draining(1, 3), draining(0, 2), draining(0, 0), [])
    assert said == [
        "it finishes its replies and hands its sessions over (llm, tts): 1 reply of llm and 3 replies of tts left",
        "",
        "2.0 s: 2 replies of tts left",
        "3.0 s: nothing left",
        "host-tts has ended after 4.0 s",
    ]
    _, slow = told(draining(0, 2))
    assert slow.still() == "host-tts still finishes its replies: 2 replies of tts left"


def test_a_worker_of_an_older_release_that_drains_does_not_say_what_is_left() -> None:
    said, _ = told([member("tts", draining=True, taken=None)])
    assert said == ["it finishes its replies and hands its sessions over (tts)"]


def test_a_worker_that_never_hears_of_it_is_told_from_one_that_is_slow() -> None:
    assert "has not noticed" in told([member("tts")])[1].still()
    assert "still finishes" in told([member("tts", draining=True)])[1].still()


# --- voices


def written(folder: Path, text: str) -> Path:
    path = folder / "voices.yaml"
    path.write_text(text)
    return path


PERSON = """\
- name: Ann
  description: A person.
  language: {language}
  instructions: {{type: {kind}, text: You are Ann.}}
  source: {{path_on_server: ann.wav}}
  engine_voices: {{piper: joe}}
"""


def test_a_file_is_right_if_somebody_of_it_can_be_talked_to(tmp_path: Path) -> None:
    path = written(tmp_path, PERSON.format(language="en", kind="constant"))
    ran = antiphon("voices", "check", str(path), "--profile", "null")
    assert ran.exit_code == 0, ran.output
    assert "1 characters, 1 can be talked to with profile 'null'" in ran.stdout


@pytest.mark.parametrize(
    ("language", "kind", "mistake"),
    [
        ("xx", "constant", "line 3: language: unknown language 'xx'"),
        ("en", "constnat", "line 4: instructions.type: "),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, language: str, kind: str, mistake: str) -> None:
    path = written(tmp_path, PERSON.format(language=language, kind=kind))
    ran = antiphon("voices", "check", str(path), "--profile", "null")
    assert ran.exit_code == 1
    assert mistake in ran.stdout
    said = json.loads(antiphon("voices", "check", str(path), "--profile", "null", "--json").stdout)
    assert mistake in said["mistake"] and said["right"] is False


def test_a_character_without_a_voice_for_the_profiles_engine_is_silent(tmp_path: Path) -> None:
    path = written(tmp_path, PERSON.format(language="en", kind="constant"))
    found = report(path, load("gpu"))  # Kyutai's voices are others
    assert not found.right
    assert "no voice for the tts engine" in found.roles[0].unavailable


def test_a_reload_needs_somebody_to_tell(tmp_path: Path) -> None:
    ran = antiphon("voices", "reload", "--data-dir", str(tmp_path))
    assert ran.exit_code == 2 and "nothing runs on" in ran.stderr
    assert local_run.look(tmp_path) is None


# --- help


@pytest.mark.parametrize(
    "command",
    ["status", "doctor", "drain", "sessions list", "sessions end", "voices check", "voices reload"],
)
def test_help_has_an_example(command: str) -> None:
    said = antiphon(*command.split(), "--help").stdout
    assert f"    antiphon {command}" in said
