"""A recorded session is decided again, to the same decisions; a recording that was tampered with is not."""

import errno
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from cli.replay import Replay, difference
from config.messages import Pause, Transcript, VoiceEnded, VoiceStarted
from config.tuning import TurnSettings
from web import record, recorder
from web.actions import SpeechBegan
from web.config import Wishes
from web.happenings import CancelAsked, Happening, ReplyHeard, SoundBegan, Tick
from web.recorder import Recorder
from web.rules import Rules
from web.turn import advance
from web.turn_state import Turn

S = 24_000
RULES = Rules.of(TurnSettings())
SILENCE = replace(RULES, detection="silence")

YES, NO = Wishes(allow_recording=True), Wishes()

samples = st.integers(0, 40 * S)


def possible(happening: Happening) -> bool:
    """A worker counts samples in 64 bits and gives probabilities that are numbers."""
    values = record.fields_of(happening).values()
    return all(abs(value) < 2**62 for value in values if isinstance(value, int | float))


happenings = st.one_of([st.from_type(kind) for kind in get_args(Happening) if kind is not Transcript])
happenings = happenings.filter(possible)
texts = st.builds(Transcript, st.text(max_size=20), samples, samples, st.booleans(), st.booleans())
random_sessions = st.lists(
    st.tuples(st.one_of(happenings, texts), st.sampled_from([RULES, SILENCE])), min_size=1, max_size=40
)

#: A turn, its reply, an interruption.
STORY: list[Happening] = [
    VoiceStarted(S),
    VoiceEnded(2 * S),
    Transcript("How are you?", S, 2 * S, settled=True),
    Pause(2 * S, 300, 0.9),
    SoundBegan(1),
    VoiceStarted(5 * S),
    Transcript("Stop", 5 * S, 6 * S),
    ReplyHeard(1, 6 * S),
    Tick(7 * S),
    CancelAsked(9 * S),
]


class Done:
    """A job that is over, or stands still."""

    def __init__(self, ready: bool = True) -> None:
        self._ready = ready

    def ready(self) -> bool:
        return self._ready

    def wait(self, timeout: float) -> None:
        assert 0 <= timeout <= recorder.CLOSE_S


def at_once(work: Callable[..., None], *given: Any) -> Done:
    work(*given)
    return Done()


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def recording(folder: Path, story: list[tuple[Happening, Rules]], session: str = "s", **how: Any) -> Path:
    """Plays the story to a turn and records it."""
    pen = Recorder(folder, session, **{"background": at_once, **how})
    pen.consent(YES)
    turn = Turn()
    for happening, rules in story:
        before = turn
        turn, actions = advance(before, happening, rules)
        pen.note(before, happening, rules, actions)
    pen.close(YES)
    return folder / f"{session}.jsonl"


def told(folder: Path) -> Path:
    return recording(folder, [(happening, RULES) for happening in STORY])


def run(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["replay", *map(str, args)])
    return result.exit_code, result.output


@given(random_sessions)
def test_any_session_replays_to_the_same_decisions(tmp_path_factory, story):
    path = recording(tmp_path_factory.mktemp("r"), story)
    replay = Replay(path.read_bytes())
    steps = list(replay.steps())
    assert [step.happening for step in steps] == [happening for happening, _ in story]
    assert not any(map(difference, steps))
    assert replay.whole


@given(random_sessions, st.data())
def test_a_decision_that_was_tampered_with_is_found(tmp_path_factory, story, data):
    path = recording(tmp_path_factory.mktemp("r"), story)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    step = data.draw(st.sampled_from([line for line in lines if line["line"] == "step"]))
    step["decided"] = step["decided"][1:] or [record.named(SpeechBegan(99))]
    steps = Replay("".join(json.dumps(line) + "\n" for line in lines).encode()).steps()
    assert next(found.line for found in steps if difference(found)) == lines.index(step) + 1


def test_every_happening_and_action_has_its_own_name():
    assert len(record.HAPPENINGS) == len(get_args(Happening))
    assert len(record.ACTIONS) == len(get_args(record.Action))


def test_the_command_tells_the_story_in_seconds(tmp_path):
    code, output = run(told(tmp_path))
    assert code == 0
    assert "1.00 s  voice started at 1.00 s  LISTENING → HEARING  → speech began at 1.00 s" in output
    assert "take text 'How are you?', start reply 1" in output
    assert "tick" not in output
    assert output.endswith("10 steps, all decided as recorded\n")
    assert "tick at 7.00 s" in run(told(tmp_path / "again"), "--verbose")[1]


def test_the_first_difference_is_shown_and_fails(tmp_path):
    path = told(tmp_path)
    path.write_text(path.read_text().replace('["StartReply",{"reply":1', '["StartReply",{"reply":7'))
    code, output = run(path)
    assert code == 1
    assert output.splitlines()[-1].startswith("line 5, 2.00 s: pause")
    assert "start reply 7; now:" in output and "steps, all" not in output


def test_a_state_that_does_not_follow_is_a_difference(tmp_path):
    path = told(tmp_path)
    path.write_text(path.read_text().replace('"phase":"SPEAKING"', '"phase":"LISTENING"'))
    code, output = run(path)
    assert code == 1 and "phase was 'LISTENING' and is 'SPEAKING'" in output


def test_a_replay_may_begin_in_the_middle(tmp_path):
    path = told(tmp_path)
    code, output = run(path, "--from-line", 7)
    assert code == 0 and output.endswith("5 steps, all decided as recorded\n")
    assert "voice started at 5.00 s" in output and "voice started at 1.00 s" not in output


def test_rules_that_change_are_written_once_each_time(tmp_path):
    path = recording(
        tmp_path, [(Tick(n), rules) for n, rules in enumerate([RULES, RULES, SILENCE, SILENCE, RULES])]
    )
    kinds = [json.loads(line)["line"] for line in path.read_bytes().splitlines()]
    assert kinds == ["header", "step", "step", "rules", "step", "step", "rules", "step", "end"]
    assert run(path)[0] == 0


def test_a_session_that_went_on_elsewhere_is_one_recording(tmp_path):
    told(tmp_path)
    code, output = run(told(tmp_path))
    assert code == 0 and output.endswith("20 steps, all decided as recorded\n")


def test_a_broken_line_is_named_and_what_stands_after_the_next_header_can_be_replayed(tmp_path):
    told(tmp_path)
    path = told(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    lines[2] = "oops\n"
    path.write_text("".join(lines))
    code, output = run(path)
    assert code == 2 and "line 3 is not of a recording" in output
    code, output = run(path, "--from-line", 13)
    assert code == 0 and output.endswith("10 steps, all decided as recorded\n")
    lines[19] = "oops\n"
    path.write_text("".join(lines))
    assert "line 20 is not of a recording" in run(path, "--from-line", 13)[1]


def header(**fields: Any) -> str:
    known = {
        "line": "header",
        "version": 1,
        "sample_rate": S,
        "rules": record.fields_of(RULES),
        "turn": record.fields_of(Turn()),
    }
    return json.dumps({**known, **fields}, separators=(",", ":")) + "\n"


def step(order: int, happened: object) -> str:
    return json.dumps({"line": "step", "order": order, "at": 0, "happened": happened}) + "\n"


TICK = ["Tick", {"at": 1}]
OLD_RULES = {name: value for name, value in record.fields_of(RULES).items() if name != "detection"}
BROKEN = {
    "empty": ("", "line 1 is no header"),
    "not JSON": ("hello\n", "line 1 is no header"),
    "JSON of another kind": (header() + '{"a": 1}\n', "line 2 is not of a recording"),
    "broken in the middle": (header() + step(1, TICK)[:-9] + "\n" + step(2, TICK), "line 2 is not of a recording"),
    "another version": (header(version=2), "version 2"),
    "another rate": (header(sample_rate=8000), "8000 Hz"),
    "rules that this version lacks": (header(rules={**record.fields_of(RULES), "mood": 1}), "differs in mood"),
    "rules that lack one of ours": (header(rules=OLD_RULES), "differs in detection"),
    "an unknown phase": (header(turn={**record.fields_of(Turn()), "phase": "DANCING"}), "no phase 'DANCING'"),
    "an unknown happening": (header() + step(1, ["Sneeze", {}]), "no happening 'Sneeze'"),
    "a happening that lacks something": (header() + step(1, ["Tick", {}]), "differs in at"),
    "a happening of another type": (header() + step(1, ["Tick", {"at": "noon"}]), "does not fit"),
    "a step that is missing": (header() + step(1, TICK) + step(3, TICK), "step 2 is missing"),
    "an end that comes too early": (header() + step(1, TICK) + '{"line":"end","steps":5}\n', "5 steps, here are 1"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_recording_is_one_clear_error(tmp_path, content, words):
    path = tmp_path / "s.jsonl"
    path.write_text(content)
    code, output = run(path)
    assert code == 2
    assert output.splitlines()[-1].startswith("antiphon: ") and words in output


def test_a_recording_whose_process_died_in_the_middle_of_a_line_is_replayed_so_far(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text(header() + step(1, TICK) + step(2, TICK)[:-9])
    code, output = run(path)
    assert code == 0
    assert "1 steps, all decided as recorded" in output
    assert "line 3 is cut off" in output and "has no end" in output


def test_a_session_that_went_on_after_a_line_that_was_cut_off_is_replayed_whole(tmp_path):
    path = tmp_path / "s.jsonl"
    first, second = header() + step(1, TICK) + step(2, TICK)[:-9], header() + step(1, TICK)
    path.write_text(f'{first}\n{second}{{"line":"end","steps":1}}\n')
    code, output = run(path)
    assert code == 0
    assert "2 steps, all decided as recorded" in output
    assert "line 3 is cut off" in output and "has no end" not in output


def test_a_recording_may_begin_with_an_empty_line(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text("\n" + header() + step(1, TICK))
    assert run(path)[0] == 0


def test_a_recording_without_an_end_says_so(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text(header() + step(1, TICK))
    code, output = run(path)
    assert code == 0 and "has no end" in output


# --- the writer


@pytest.mark.parametrize(
    ("folder", "allowed"), [(False, True), (True, False)], ids=["no folder", "no consent"]
)
def test_nothing_is_recorded_unless_both_want_it(tmp_path, folder, allowed):
    pen = Recorder(tmp_path / "r" if folder else None, "s", background=at_once)
    pen.consent(Wishes(allow_recording=allowed))
    pen.note(Turn(), Tick(1), RULES, ())
    pen.close(Wishes(allow_recording=allowed))
    assert not list(tmp_path.iterdir())


def test_only_the_owner_may_read_it(tmp_path):
    path = told(tmp_path / "r")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_the_disk_is_touched_at_most_every_half_second(tmp_path):
    clock, writes = Clock(), []
    pen = Recorder(
        tmp_path,
        "s",
        background=lambda work, batch, erased: writes.append(batch[0][1]) or Done(),
        clock=clock,
    )
    pen.consent(YES)
    for _ in range(100):
        clock.now_s += 0.125
        pen.note(Turn(), Tick(1), RULES, ())
    assert len(writes) == 24  # 99 steps of 0.125 s after the first
    pen.close(YES)
    assert b"".join(writes).count(b"\n") == 102


def test_a_disk_that_hangs_is_given_up_and_nobody_waits(tmp_path, caplog):
    clock, writes = Clock(), []
    pen = Recorder(
        tmp_path,
        "s",
        background=lambda work, batch, erased: writes.append(batch[0][1]) or Done(ready=False),
        clock=clock,
    )
    pen.consent(YES)
    with caplog.at_level(logging.ERROR):
        for _ in range(300):
            clock.now_s += 1
            pen.note(Turn(), Transcript("x" * 10_000, 0, 1), RULES, ())
        pen.close(YES)
    assert len(writes) == 1
    assert [entry.getMessage().partition(": ")[2] for entry in caplog.records] == ["the disk is too slow"]


def test_a_full_disk_is_reported_once(tmp_path, caplog, monkeypatch):
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("builtins.open", full)
    clock = Clock()
    pen = Recorder(tmp_path, "s", background=at_once, clock=clock)
    pen.consent(YES)
    with caplog.at_level(logging.ERROR):
        for _ in range(10):
            clock.now_s += 1
            pen.note(Turn(), Tick(1), RULES, ())
        pen.consent(YES)
        pen.close(YES)
    assert [entry.getMessage().partition(": ")[2] for entry in caplog.records] == ["No space left on device"]


def test_a_real_thread_writes_it(tmp_path):
    path = recording(tmp_path, [(happening, RULES) for happening in STORY], background=recorder.in_thread)
    assert run(path)[0] == 0
