"""The doctor's checks, each against a surrounding that is well and one that is not."""

import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.doctor import machine, surroundings, variables
from cli.doctor.command import lines
from cli.doctor.finding import Finding, Verdict, fail, ok, run, warn
from config.errors import ConfigError
from config.settings import Settings, load
from tests.fake_nvml import FULL, L40S, nvml
from tests.fake_nvml import machine as with_gpus
from tests.redis_server import Server
from tests.up_run import antiphon

__all__ = ["nvml"]

BIG = 1 << 20

#: For a machine under load.
PATIENT = ("--patience", "40")


def verdicts(found: list[Finding]) -> list[Verdict]:
    return [one.verdict for one in found]


def settings_of(profile: str, **others: object) -> Settings:
    return load(profile).model_copy(update=others)


# --- running checks


def test_findings_come_in_the_order_of_the_checks_whoever_was_through_first() -> None:
    second_is_through = threading.Event()

    def slow() -> Iterator[Finding]:
        assert second_is_through.wait(20)
        yield ok("first", "")

    def quick() -> Iterator[Finding]:
        yield ok("second", "")
        second_is_through.set()

    assert [one.check for one in run({"first": slow, "second": quick}, 5)] == ["first", "second"]


def test_a_check_that_hangs_keeps_nobody_and_has_failed() -> None:
    never = threading.Event()
    try:
        found = run(
            {"hangs": lambda: [ok("hangs", str(never.wait(30)))], "well": lambda: [ok("well", "")]}, 0.05
        )
    finally:
        never.set()
    assert verdicts(found) == [Verdict.FAIL, Verdict.OK]
    assert "within 0.05 s" in found[0].what


def test_what_must_be_mended_is_a_failure_with_its_remedy() -> None:
    def check() -> Iterator[Finding]:
        raise ConfigError("there is no server; install one")

    (found,) = run({"redis": check}, 5)
    assert found == fail("redis", "there is no server", "install one")


def test_a_check_that_breaks_hides_no_other() -> None:
    def broken() -> Iterator[Finding]:
        raise ZeroDivisionError("oh")

    found = run({"broken": broken, "well": lambda: [ok("well", "")]}, 5)
    assert verdicts(found) == [Verdict.FAIL, Verdict.OK]
    assert "ZeroDivisionError" in found[0].what


def test_a_remedy_stands_below_what_it_mends() -> None:
    said = list(lines([warn("disk", "little room", "make room"), ok("python", "3.11")]))
    assert [line.split() for line in said] == [
        ["\x1b[33mwarn\x1b[0m", "disk", "little", "room"],
        ["→", "make", "room"],
        ["\x1b[32mok", "\x1b[0m", "python", "3.11"],
    ]


# --- variables


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ANTIPHON_TURN__PATIENC", "did you mean ANTIPHON_TURN__PATIENCE?"),
        ("ANTIPHON_REDIS_URI", "did you mean ANTIPHON_REDIS_URL?"),
        ("ANTIPHON_ADMISION__LLM_SHARE", "did you mean ANTIPHON_ADMISSION__LLM_SHARE?"),
        ("antiphon_stt__slot", "did you mean ANTIPHON_STT__SLOTS?"),
        ("ANTIPHON_TURN__FOO", "the nearest is ANTIPHON_TURN__"),
    ],
)
def test_a_slip_is_told_with_the_nearest_name(name: str, says: str) -> None:
    (found,) = variables.check([name, "PATH"])
    assert found.verdict is Verdict.WARN
    assert name in found.what and says in found.remedy


@pytest.mark.parametrize(
    "name",
    [
        "ANTIPHON_PROFILE",
        "ANTIPHON_TURN",
        "ANTIPHON_TURN__PATIENCE",
        "antiphon_turn__patience",
        "ANTIPHON_SCALE__STT__MOST",
        "ANTIPHON_LLM__OPTIONS__ASKS__GPU_MB",
        "ANTIPHON_TURN__GOODBYES__EN",
        "ANTIPHON_HUB_TOKEN",
        "ANTIPHON_RUN",
        "HF_HOME",
    ],
)
def test_what_is_read_is_known(name: str) -> None:
    assert verdicts(list(variables.check([name]))) == [Verdict.OK]


def test_an_option_that_the_engine_does_not_know_is_told() -> None:
    environment = {
        "ANTIPHON_LLM__OPTIONS__WRODS": "3",
        "ANTIPHON_LLM__OPTIONS__FAILS__AT": "2",
        "ANTIPHON_LLM__SLOTS": "1",
    }
    (found,) = variables.check_options("llm", environment, {"words", "fails"})
    assert found.what.startswith("ANTIPHON_LLM__OPTIONS__WRODS: the engine of llm")
    assert found.remedy == "the nearest is ANTIPHON_LLM__OPTIONS__WORDS"


# --- the machine


def test_exact_versions_are_compared_and_those_of_extras_are_not() -> None:
    pinned = machine.pins(
        ["click==8.5.1", "numpy<2.5,>=2.3", 'vllm==0.32.0; extra == "vllm"', "no-such-package==1"]
    )
    assert pinned == {"click": "8.5.1", "no-such-package": "1"}
    assert list(machine.unlike({"click": "0.1", "no-such-package": "1"}))[1] == "no-such-package is missing"
    assert "not 0.1" in next(machine.unlike({"click": "0.1"}))


@pytest.mark.parametrize(
    ("soft", "hard", "sessions", "verdict"),
    [
        (BIG, BIG, 256, Verdict.OK),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 256, Verdict.OK),
        (256, BIG, 256, Verdict.WARN),
        (4096, 4096, 256, Verdict.WARN),
        (1024, 1024, 1024, Verdict.FAIL),
    ],
    ids=["plenty", "unlimited", "up must raise them", "less than a full web process", "less than the slots"],
)
def test_file_limits_are_judged_by_the_sessions_there_may_be(
    soft: int, hard: int, sessions: int, verdict: Verdict
) -> None:
    assert machine.judge_files(soft, hard, sessions).verdict is verdict


@pytest.mark.parametrize(
    ("pages", "overcommit", "warnings"),
    [
        ("always [madvise] never", "1", 0),
        ("[always] madvise never", "1", 1),
        ("[always] madvise never", "0", 2),
        ("", "", 0),
    ],
    ids=["as Redis wants it", "huge pages", "both", "no Linux"],
)
def test_the_kernel_is_judged_as_redis_would(pages: str, overcommit: str, warnings: int) -> None:
    found = list(machine.judge_kernel(pages, overcommit))
    assert verdicts(found).count(Verdict.WARN) == warnings
    assert all(one.remedy for one in found if one.verdict is Verdict.WARN)


def test_the_kernel_of_another_machine_is_not_judged() -> None:
    assert "another machine" in next(machine.kernel(local_redis=False)).what


@pytest.mark.parametrize(
    ("needed", "least", "verdict"),
    [(1, 1, Verdict.OK), (1 << 60, 1, Verdict.WARN), (1 << 60, 1 << 60, Verdict.FAIL)],
)
def test_room_is_looked_for_where_a_folder_will_be_made(
    tmp_path: Path, needed: int, least: int, verdict: Verdict
) -> None:
    assert machine.disk("disk", tmp_path / "not/yet", needed, least, "make room").verdict is verdict


def test_a_port_that_somebody_has_is_a_failure_and_one_of_ours_is_not() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert verdicts(list(machine.ports({port: "web"}, "127.0.0.1", []))) == [Verdict.FAIL]
        (ours,) = machine.ports({port: "web"}, "127.0.0.1", [os.getpid()])
        assert ours.verdict is Verdict.OK and "running server's" in ours.what
    assert verdicts(list(machine.ports({port: "web"}, "127.0.0.1", []))) == [Verdict.OK]


def test_a_host_that_is_not_ours_is_a_failure() -> None:
    assert verdicts(list(machine.ports({0: "web"}, "192.0.2.1", []))) == [Verdict.FAIL]


def test_metrics_go_to_a_folder_that_can_be_written(tmp_path: Path) -> None:
    assert machine.metrics_folder(tmp_path).verdict is Verdict.OK
    assert not list(tmp_path.iterdir())


# --- surroundings


def test_a_tone_comes_back_from_opus() -> None:
    assert verdicts(list(surroundings.codecs())) == [Verdict.OK]


def test_without_a_server_named_the_one_that_up_starts_is_looked_for() -> None:
    (found,) = surroundings.redis((None, None))
    assert found.verdict is Verdict.OK and "antiphon up" in found.what


def test_what_is_wrong_with_a_server_is_told_with_its_remedy(server: Server) -> None:
    found = list(surroundings.redis((server.url(0), server.url(1))))
    assert any("has no maxmemory" in one.what and "set maxmemory" in one.remedy for one in found)
    assert Verdict.FAIL not in verdicts(found)


def test_a_server_that_is_not_there_is_a_failure_without_its_password() -> None:
    found = list(surroundings.redis(("redis://:secret@127.0.0.1:1/0", "redis://:secret@127.0.0.1:1/1")))
    assert verdicts(found) == [Verdict.FAIL, Verdict.FAIL]
    assert "127.0.0.1:1" in found[0].what and "secret" not in repr(found)


def test_a_server_that_takes_and_never_answers_keeps_nobody() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        (found,) = run({"redis": lambda: surroundings.redis((url, url))}, 0.2)
    assert found.verdict is Verdict.FAIL


def test_one_of_two_servers_is_not_enough(server: Server) -> None:
    found = list(surroundings.redis((server.url(0), None)))
    assert found[0].verdict is Verdict.WARN and "--media-url" in found[0].remedy


def test_weights_that_are_missing_are_named_with_the_command_that_fetches_them(tmp_path: Path) -> None:
    settings = settings_of("gpu", models_dir=tmp_path)
    found = list(surroundings.weights(settings))
    (stt,) = [one for one in found if one.what.startswith("kyutai-stt")]
    assert (stt.verdict, stt.remedy) == (Verdict.FAIL, "fetch it: antiphon models pull kyutai-stt")
    assert surroundings.missing_bytes(settings) > 1 << 30


def test_a_profile_without_weights_misses_none(tmp_path: Path) -> None:
    assert verdicts(list(surroundings.weights(settings_of("null", models_dir=tmp_path)))) == [Verdict.OK]


def test_a_mistake_among_the_characters_is_a_failure_with_its_line(tmp_path: Path) -> None:
    voices = tmp_path / "voices.yaml"
    voices.write_text("- name: Ann\n  langauge: en\n")
    (found,) = surroundings.characters(settings_of("null", voices_file=voices))
    assert found.verdict is Verdict.FAIL and "line 2: unknown field 'langauge'" in found.what


def test_engines_that_are_installed_are_asked_and_not_loaded() -> None:
    found = list(surroundings.engines(load("null"), None, 30))
    assert found[0] == ok(
        "engines", "stt engine 'null', llm engine 'null', tts engine 'null': installed, and their options fit"
    )


def test_an_engine_whose_option_does_not_fit_is_a_failure() -> None:
    settings = load("null")
    wrong = settings.llm.model_copy(update={"options": {"words": "many"}})
    found = list(surroundings.engines(settings.model_copy(update={"llm": wrong}), None, 30))
    assert any(one.verdict is Verdict.FAIL and "option 'words'" in one.what for one in found)


def test_an_engine_whose_interpreter_is_missing_is_a_failure_that_says_how_to_make_it() -> None:
    settings = load("null")
    lost = settings.tts.model_copy(update={"python": Path(".venv-lost/bin/python")})
    found = list(surroundings.engines(settings.model_copy(update={"tts": lost}), None, 30))
    assert any(one.verdict is Verdict.FAIL and "make setup-lost" in one.remedy for one in found)


GREEDY = {"ANTIPHON_LLM__OPTIONS__ASKS__GPU_MB": "20000"}


def test_a_gpu_that_is_wanted_and_not_there_is_a_failure(tmp_path: Path) -> None:
    ran = antiphon("doctor", *PATIENT, "--profile", "null", "--data-dir", str(tmp_path), "--json", **GREEDY)
    found = [one for one in json.loads(ran.stdout)["findings"] if one["check"] == "gpu"]
    assert ran.returncode == 1
    assert found[0]["verdict"] == "fail" and "wanted by llm engine 'null'" in found[0]["what"]


def test_a_gpu_is_looked_at_for_room(tmp_path: Path, nvml: Path) -> None:
    for card, verdict in ((L40S, "ok"), (FULL, "fail")):
        env = GREEDY | with_gpus(nvml, card)
        ran = antiphon("doctor", *PATIENT, "--profile", "null", "--data-dir", str(tmp_path), "--json", **env)
        (found,) = [one for one in json.loads(ran.stdout)["findings"] if one["check"] == "gpu"]
        assert found["verdict"] == verdict, found


def test_a_plan_of_gpus_is_made_as_up_would_make_it(tmp_path: Path, nvml: Path) -> None:
    env = GREEDY | with_gpus(nvml, L40S)
    ran = antiphon(
        "doctor", *PATIENT, "--profile", "null", "--gpu", "0", "--data-dir", str(tmp_path), "--json", **env
    )
    (found,) = [one for one in json.loads(ran.stdout)["findings"] if one["check"] == "gpu"]
    assert found["verdict"] == "ok" and "20000 MB" in found["what"]


# --- the command


def test_settings_that_cannot_be_read_are_one_failure_among_the_others(tmp_path: Path) -> None:
    ran = antiphon(
        "doctor", "--data-dir", str(tmp_path), ANTIPHON_TURN__PATIENCE="11", ANTIPHON_PROFILE="null"
    )
    assert ran.returncode == 1
    assert "'turn.patience'" in ran.stdout and "python" in ran.stdout


def test_it_looks_without_loading_an_engine() -> None:
    engines = {"torch", "onnxruntime", "xllamacpp", "piper", "vllm"}
    code = f"import sys, cli.doctor.command\nprint(*{engines} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == ""
