"""Recording by consent: what is kept, what a consent that is taken back deletes, and how long the rest lives."""

import errno
import io
import json
import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import numpy as np
import opuslib
import pytest
import soundfile
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from config.tuning import TurnSettings
from web import record_cleaner, record_folder
from web.config import Wishes
from web.happenings import Tick
from web.pen import MAX_IN_HAND
from web.recorder import Recorder
from web.rules import Rules
from web.sound_track import SoundTrack
from web.turn_state import Turn

RULES = Rules.of(TurnSettings())
NO = Wishes()
WORDS = Wishes(allow_recording=True)
ALL = Wishes(allow_recording=True, record_audio=True)
PCM = [bytes(960)]


class Job:
    """A thread's work, done when the test says so."""

    def __init__(self, work: Callable[..., None], given: tuple[Any, ...]) -> None:
        self._work = work
        self._given = given
        self.done = False

    def run(self) -> None:
        self._work(*self._given)
        self.done = True

    def ready(self) -> bool:
        return self.done

    def wait(self, timeout: float) -> None:
        assert timeout >= 0
        if not self.done:
            self.run()


class Threads:
    """As many as there are jobs; `now`: each is done at once."""

    def __init__(self, *, now: bool = True) -> None:
        self.now = now
        self.jobs: list[Job] = []

    def __call__(self, work: Callable[..., None], *given: Any) -> Job:
        self.jobs.append(Job(work, given))
        if self.now:
            self.jobs[-1].run()
        return self.jobs[-1]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0  # every line and packet is written at once
        return self.now_s


def recorder(folder: Path | None, threads: Threads | None = None, **how: Any) -> Recorder:
    return Recorder(
        folder, "s", **{"sound": True, "background": threads or Threads(), "clock": Clock(), **how}
    )


def live(pen: Recorder, *steps: Wishes | str) -> Wishes:
    """Consents, the newest of which is returned, and in between something happens and is heard."""
    newest = NO
    for at, step in enumerate(steps):
        if isinstance(step, Wishes):
            newest = step
            pen.consent(step)
        pen.note(Turn(), Tick(at), RULES, ())
        pen.hear(at * 480, PCM)
    return newest


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def kinds(path: Path) -> list[str]:
    return [json.loads(line)["line"] for line in path.read_bytes().splitlines()]


def test_what_nothing_follows_is_written_all_the_same(tmp_path):
    pen = Recorder(tmp_path, "s")
    pen.consent(WORDS)
    pen.note(Turn(), Tick(0), RULES, ())
    with gevent.Timeout(10.0):
        while not names(tmp_path):
            gevent.sleep(0.02)
    assert kinds(tmp_path / "s.jsonl") == ["header", "step"]


# --- who wants it


@pytest.mark.parametrize(
    ("wishes", "sound", "there"),
    [
        pytest.param(NO, True, set(), id="no consent"),
        pytest.param(Wishes(record_audio=True), True, set(), id="consent to sound alone is none"),
        pytest.param(WORDS, True, {"s.jsonl"}, id="consent to words"),
        pytest.param(ALL, False, {"s.jsonl"}, id="consent to sound, which the operator does not want"),
        pytest.param(ALL, True, {"s.jsonl", "s.0.wav"}, id="both want both"),
    ],
)
def test_what_is_recorded_is_what_both_want(tmp_path, wishes, sound, there):
    pen = recorder(tmp_path, sound=sound)
    pen.close(live(pen, wishes))
    assert names(tmp_path) == there


def test_without_a_folder_nothing_is_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pen = recorder(None)
    pen.close(live(pen, ALL, NO))
    assert not names(tmp_path)


def test_nothing_from_before_the_consent_is_recorded(tmp_path):
    pen = recorder(tmp_path)
    pen.close(live(pen, NO, "later", ALL))
    assert names(tmp_path) == {"s.jsonl", "s.960.wav"}
    assert kinds(tmp_path / "s.jsonl") == ["header", "step", "end"]


# --- taking it back


def test_consent_taken_back_deletes_all_of_it_at_once(tmp_path):
    pen = recorder(tmp_path)
    live(pen, ALL, "more", NO)
    assert not names(tmp_path)
    pen.close(live(pen, "and more"))
    assert not names(tmp_path)


def test_consent_to_sound_taken_back_deletes_the_sound_alone(tmp_path):
    pen = recorder(tmp_path)
    live(pen, ALL, WORDS)
    assert names(tmp_path) == {"s.jsonl"}
    pen.close(live(pen, ALL))
    assert names(tmp_path) == {"s.jsonl", "s.0.wav"}
    assert kinds(tmp_path / "s.jsonl") == ["header", "step", "step", "step", "end"]


def test_consent_given_again_begins_anew(tmp_path):
    pen = recorder(tmp_path)
    pen.close(live(pen, ALL, NO, "unrecorded", ALL))
    assert kinds(tmp_path / "s.jsonl") == ["header", "step", "end"]
    assert names(tmp_path) == {"s.jsonl", "s.1440.wav"}


def test_a_later_connection_deletes_what_an_earlier_one_recorded(tmp_path):
    first = recorder(tmp_path)
    first.close(live(first, ALL))
    later = recorder(tmp_path, went_on=True)
    later.consent(WORDS)
    assert names(tmp_path) == {"s.jsonl"}
    later.consent(NO)
    assert not names(tmp_path)


def test_consent_that_is_taken_back_with_the_last_word_counts(tmp_path):
    """The client refuses and leaves, before its session has come to it."""
    pen = recorder(tmp_path)
    live(pen, ALL)
    pen.close(NO)
    assert not names(tmp_path)


def test_other_sessions_are_left_alone(tmp_path):
    others = [tmp_path / name for name in ("s2.jsonl", "s2.0.wav", "ss.jsonl", "notes.txt")]
    for other in others:
        other.write_text("mine")
    pen = recorder(tmp_path)
    live(pen, ALL, NO)
    assert names(tmp_path) == {other.name for other in others}


@given(st.lists(st.sampled_from([NO, WORDS, ALL, "more"]), max_size=8), st.data())
def test_whatever_the_threads_do_nothing_stays_without_consent(tmp_path_factory, steps, data):
    """Jobs that are begun may end in any order; only what is consented to at the end is there."""
    folder, threads = tmp_path_factory.mktemp("r"), Threads(now=False)
    pen = recorder(folder, threads)
    wishes = NO
    for step in steps:
        live(pen, step)
        wishes = step if isinstance(step, Wishes) else wishes
        for job in data.draw(st.permutations([job for job in threads.jobs if not job.done])):
            if data.draw(st.booleans()):
                job.run()
    for job in data.draw(st.permutations([job for job in threads.jobs if not job.done])):
        job.run()
    pen.close(wishes)
    for job in threads.jobs:
        assert job.done
    there = {Path(name).suffix for name in names(folder)}
    assert there <= ({".jsonl"} if wishes.allow_recording else set()) | ({".wav"} if wishes is ALL else set())
    if wishes.allow_recording:
        assert kinds(folder / "s.jsonl")[0] == "header" and kinds(folder / "s.jsonl").count("header") == 1


def test_a_deletion_that_fails_is_told(tmp_path, monkeypatch, caplog):
    pen = recorder(tmp_path)
    live(pen, WORDS)

    def refuse(_: Path) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(Path, "unlink", refuse)
    with caplog.at_level(logging.ERROR):
        pen.consent(NO)
        pen.close(NO)
    assert [entry.getMessage().partition(": ")[2] for entry in caplog.records] == ["Read-only file system"]


# --- sound


def opus(count: int) -> list[bytes]:
    encoder = opuslib.Encoder(24_000, 1, opuslib.APPLICATION_AUDIO)
    hum = (8000 * np.sin(np.arange(480) / 10)).astype("<i2").tobytes()
    return [encoder.encode(hum, 480) for _ in range(count)]


@pytest.mark.parametrize(
    ("audio_format", "packets", "kind", "samples", "rate"),
    [
        pytest.param("pcm16", [bytes(960)] * 50, "wav", 24_000, 24_000, id="pcm16"),
        pytest.param("pcmu", [b"\xff" * 160] * 50, "wav", 8000, 8000, id="µ-law"),
        pytest.param("pcma", [b"\xd5" * 160] * 50, "wav", 8000, 8000, id="A-law"),
        pytest.param(
            "opus", opus(50), "ogg", 24_000 - 156, 24_000, id="Opus, less what it adds before the sound"
        ),
    ],
)
def test_sound_is_a_file_that_players_read(audio_format, packets, kind, samples, rate):
    track = SoundTrack(audio_format, 1)
    pcm, its_rate = soundfile.read(io.BytesIO(track.more(packets[:20]) + track.more(packets[20:])))
    assert (track.kind, its_rate, len(pcm)) == (kind, rate, samples)
    loudest = float(np.abs(pcm).max())
    assert loudest > 0.1 if audio_format == "opus" else loudest < 0.001


def test_sound_in_another_format_is_another_file(tmp_path):
    pen = recorder(tmp_path)
    pen.consent(ALL)
    pen.hear(0, PCM)
    in_opus = Wishes(allow_recording=True, record_audio=True, input_format="opus")
    pen.consent(in_opus)
    pen.hear(480, opus(2))
    pen.close(in_opus)
    assert names(tmp_path) == {"s.0.wav", "s.480.ogg"}


def test_sound_for_a_disk_that_hangs_is_given_up(tmp_path, caplog):
    threads = Threads(now=False)
    pen = recorder(tmp_path, threads)
    pen.consent(ALL)
    with caplog.at_level(logging.ERROR):
        for at in range(2 * MAX_IN_HAND // 48_000):
            pen.hear(at * 24_000, [bytes(48_000)])
    assert len(threads.jobs) == 1
    assert [entry.getMessage().partition(": ")[2] for entry in caplog.records] == ["the disk is too slow"]


def test_only_the_owner_may_hear_it(tmp_path):
    pen = recorder(tmp_path / "r")
    pen.close(live(pen, ALL))
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "r").iterdir()} == {0o600}


# --- the folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sessions of forty days ago, one of today, and a file that is none of ours."""
    for name, days in (
        ("a.jsonl", 40), ("a.0.wav", 40), ("b.jsonl", 41), ("c.jsonl", 0), ("c.480.ogg", 0), ("notes.txt", 90),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(bytes(2_000_000))
        then_s = time.time() - days * 86_400
        os.utime(tmp_path / name, (then_s, then_s))
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["recordings", *map(str, arguments)])


def test_the_cleaner_deletes_what_is_too_old(folder, caplog):
    with caplog.at_level(logging.INFO):
        record_cleaner.clean(folder, 30, time.time())
        record_cleaner.clean(folder, 30, time.time())
    assert names(folder) == {"c.jsonl", "c.480.ogg", "notes.txt"}
    assert [entry.getMessage() for entry in caplog.records] == [
        "3 files of recordings older than 30 days were deleted"
    ]


def test_a_folder_that_is_not_there_yet_is_clean(tmp_path, caplog):
    record_cleaner.clean(tmp_path / "none", 30, time.time())
    assert not caplog.records


def test_one_go_is_bounded(folder, monkeypatch):
    monkeypatch.setattr(record_folder, "MOST_AT_ONCE", 2)
    assert record_folder.prune(folder, time.time() - 86_400) == 2


def test_a_file_that_cannot_be_deleted_keeps_no_other(folder, monkeypatch, caplog):
    erase = record_folder.erase

    def refuse(path: Path) -> bool:
        if path.suffix == ".jsonl":
            raise OSError(errno.EPERM, "Operation not permitted")
        return erase(path)

    monkeypatch.setattr(record_folder, "erase", refuse)
    record_cleaner.clean(folder, 1.0, time.time() + 10 * 86_400)
    assert {Path(name).suffix for name in names(folder)} == {".jsonl", ".txt"}
    assert "could not be deleted: Operation not permitted" in caplog.text


def test_where_there_may_be_more_the_next_look_comes_soon(folder, monkeypatch):
    monkeypatch.setattr(record_folder, "MOST_AT_ONCE", 2)
    waits = []
    while True:
        deleted = record_cleaner.clean(folder, 1.0, time.time() + 10 * 86_400)
        waits.append(record_cleaner.pause_s(deleted))
        if deleted < 2:
            break
    assert len(waits) > 1 and set(waits[:-1]) == {record_cleaner.MORE_S}
    assert waits[-1] == record_cleaner.LOOK_S


def test_recordings_are_listed_with_what_they_take(folder):
    done = run("list", "--folder", folder)
    assert done.exit_code == 0
    head, b, a, c, count = done.output.splitlines()
    assert (head.split()[0], count) == ("SESSION", "3 sessions")
    assert b.split()[0] == "b" and a.split()[0] == "a" and "4.00 MB" in a and ".0.wav .jsonl" in a
    assert ".480.ogg .jsonl" in c


def test_a_session_is_deleted_by_its_name(folder):
    assert run("delete", "sess_a", "--folder", folder).output == "2 files were deleted\n"
    assert names(folder) == {"b.jsonl", "c.jsonl", "c.480.ogg", "notes.txt"}
    again = run("delete", "a", "--folder", folder)
    assert again.exit_code == 1 and "there is no recording of 'a'" in again.output


def test_old_recordings_are_pruned_by_hand(folder):
    assert run("prune", "--days", "40.5", "--folder", folder).output == "1 files were deleted\n"
    assert names(folder) == {"a.jsonl", "a.0.wav", "c.jsonl", "c.480.ogg", "notes.txt"}


def test_where_nothing_is_recorded_the_command_says_what_to_set():
    done = run("list")
    assert done.exit_code == 2 and "ANTIPHON_RECORD_DIR is not set" in done.output
