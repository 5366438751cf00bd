"""Which engines go together, on which GPU, and whether they fit: tables, without a GPU."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry

from cli.gpu_plan import gpus_option, options_alone, require_one_name
from config.engine_choice import EngineChoice
from config.errors import ConfigError
from config.metrics import GpuLoad, watch_gpu
from gpu_workers.engine import Needs
from tasks import gpus, loading
from tasks.gpus import Gpu
from tasks.placement import Ask, check_room, check_together, the_only
from tests.fake_nvml import FULL, L4, L40S, machine, nvml

__all__ = ["nvml"]

ROOT = Path(__file__).parent.parent

CARD = Gpu("0", "GPU-0", "L40S", 46_000, 40_000)
UNKNOWN = Gpu("0", "GPU-0", "GB10", 0, 0)

STT = Ask("stt", "kyutai", 64, Needs(2_600, shares_process=False))
TTS = Ask("tts", "kyutai", 16, Needs(5_300, shares_process=False))
LLM = Ask("llm", "vllm", 64, Needs(6_100, shares_process=False, gpu_share=0.4))
CPU = Ask("tts", "piper", 8, Needs())


@pytest.mark.parametrize(
    ("asked", "gpu"),
    [
        ([STT], CARD),
        ([STT, TTS, LLM], CARD),
        ([CPU], Gpu("0", "", "T4", 16_000, 0)),
        ([TTS], Gpu("0", "", "T4", 16_000, 5_300)),
        ([TTS], UNKNOWN),
    ],
    ids=[
        "one that fits",
        "three that fit",
        "one that needs none",
        "one that just fits",
        "memory nobody knows",
    ],
)
def test_what_fits(asked, gpu):
    check_room(asked, gpu)


@pytest.mark.parametrize(
    ("asked", "free_mb", "says"),
    [
        (
            [TTS],
            5_299,
            "tts engine 'kyutai' needs 5300 MB with 16 slots; GPU 0 (L40S) has 5299 of 46000 MB free",
        ),
        (
            [STT, TTS],
            7_000,
            "stt engine 'kyutai' needs 2600 MB with 64 slots and tts engine 'kyutai' needs 5300",
        ),
        ([LLM], 18_000, "needs 18400 MB"),
    ],
    ids=["too little", "too little for two", "a share counts as memory"],
)
def test_what_does_not_fit_says_who_needs_what_and_how_to_mend_it(asked, free_mb, says):
    with pytest.raises(ConfigError, match=r"fewer slots.*another --gpu.*smaller share") as refused:
        check_room(asked, Gpu("0", "GPU-0", "L40S", 46_000, free_mb))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_share_that_is_too_small_for_its_engine():
    with pytest.raises(ConfigError) as refused:
        check_room([LLM], Gpu("0", "GPU-0", "T4", 15_000, 15_000))
    assert str(refused.value) == (
        "llm engine 'vllm' needs 6100 MB with 64 slots; its share of GPU 0 (T4) is 6000 MB (0.40 of 15000): "
        "give it a larger share, fewer slots or another --gpu"
    )


def test_engines_of_several_queues_share_a_process_if_all_of_them_do():
    check_together([CPU, Ask("llm", "llama", 4, Needs())], {})
    check_together([STT], {})


def test_one_that_does_not_share_names_a_command_for_each_queue():
    with pytest.raises(ConfigError) as refused:
        check_together([CPU, STT], {"--gpu": "1", "--slots": None})
    assert str(refused.value).startswith("stt engine 'kyutai' shares its process with no other")
    assert "celery -A tasks worker -Q tts --gpu 1; celery -A tasks worker -Q stt --gpu 1" in str(
        refused.value
    )


def test_who_names_no_gpu_takes_the_only_one():
    assert the_only(TTS, [CARD]) is CARD


@pytest.mark.parametrize(
    ("there", "says"),
    [([], "there is none here"), ([CARD, UNKNOWN], r"say which: --gpu 0 \(L40S\), --gpu 0 \(GB10\)")],
)
def test_who_names_no_gpu_must_where_there_is_not_one(there, says):
    with pytest.raises(ConfigError, match=says):
        the_only(TTS, there)


# --- the option of `up`


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", {"stt": ("0",), "llm": ("0",), "tts": ("0",)}),
        ("2,0,1", {"stt": ("2",), "llm": ("0",), "tts": ("1",)}),
        ("llm=1", {"llm": ("1",)}),
        ("stt=0, llm=0, tts=1, tts=2", {"stt": ("0",), "llm": ("0",), "tts": ("1", "2")}),
        ("MIG-ab/1/0", {stage: ("MIG-ab/1/0",) for stage in ("stt", "llm", "tts")}),
    ],
)
def test_the_gpus_of_stages(value, expected):
    assert gpus_option(None, None, value) == expected


@pytest.mark.parametrize(
    "value", ["", "0,1", "0,1,2,3", "ears=0", "tts=", "tts=x", "-1", "0,tts=1", "tts=0;1"]
)
def test_what_says_no_gpus(value):
    with pytest.raises(click.BadParameter, match="give one GPU for all stages"):
        gpus_option(None, None, value)


def test_a_gpu_by_its_number_and_its_uuid_is_one_and_its_memory_is_not_counted_twice():
    other = replace(CARD, name="1", uuid="GPU-other")
    require_one_name([CARD, other])
    with pytest.raises(ConfigError, match=rf"0 and {CARD.uuid} are one L40S"):
        require_one_name([CARD, other, replace(CARD, name=CARD.uuid)])


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {"ANTIPHON_LLM__OPTIONS__SHARE": "0.85", "ANTIPHON_LLM__OPTIONS__DTYPE": "bfloat16"}),
        ({"ANTIPHON_LLM__OPTIONS__share": "0.6"}, {"ANTIPHON_LLM__OPTIONS__DTYPE": "bfloat16"}),
        ({"ANTIPHON_LLM__OPTIONS": '{"share": 0.6, "dtype": "half"}'}, {}),
    ],
    ids=["by the profile", "one is the operator's", "both are the operator's"],
)
def test_options_of_an_engine_that_is_alone_on_its_gpu(environment, expected):
    choice = EngineChoice(engine="vllm", slots=64, options_alone={"share": 0.85, "dtype": "bfloat16"})
    assert options_alone("llm", choice, environment) == expected


# --- what NVML says


def ask_nvml(code: str, folder: Path, *cards: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", f"from tasks import gpus\n{code}"],
        check=False, cwd=ROOT, capture_output=True, text=True, timeout=30,
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **machine(folder, *cards)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_gpus_are_listed_with_their_memory(nvml):
    said = ask_nvml(
        "print([(g.name, g.model, g.total_mb, g.free_mb) for g in gpus.found()])", nvml, L40S, FULL
    )
    assert said == "[('0', 'L40S', 46068, 45600), ('1', 'T4', 15360, 100)]"


def test_a_gpu_goes_by_its_number_or_its_uuid(nvml):
    said = ask_nvml("print(gpus.look('1').uuid, gpus.look('GPU-1').model)", nvml, L40S, FULL)
    assert said == "GPU-1 T4"


@pytest.mark.parametrize("name", ["2", "GPU-7"])
def test_a_gpu_that_is_not_there_is_told_with_those_that_are(name, nvml):
    code = f"try: gpus.look('{name}')\nexcept gpus.ConfigError as error: print(error)"
    assert ask_nvml(code, nvml, L40S, FULL) == f"there is no GPU {name}; there are: 0 (L40S), 1 (T4)"


def test_memory_that_cpu_and_gpu_share_is_not_known(nvml):
    assert ask_nvml("print(gpus.look('0').total_mb, gpus.load('0'))", nvml, "GB10:0:0:5") == "0 None"


def test_the_load_is_told_as_far_as_it_is_known(nvml):
    said = ask_nvml(
        "print(gpus.load('0').busy, gpus.load('1').busy, gpus.load('1').used_bytes)", nvml, L40S, L4
    )
    assert said == f"0.25 None {(23034 - 22000) << 20}"


def test_without_a_driver_it_is_said(tmp_path):
    if os.path.exists("/proc/driver/nvidia"):
        pytest.skip("there is a driver")
    with pytest.raises(gpus.NoDriver, match="no NVIDIA driver answers here"):
        gpus.found()
    with pytest.raises(gpus.NoDriver):
        gpus.look("0")
    assert gpus.load("0") is None


# --- metrics


def scraped(load: GpuLoad | None) -> dict[str, float | None]:
    registry = CollectorRegistry()
    watch_gpu(lambda: load, registry)
    return {
        "used": registry.get_sample_value("antiphon_gpu_memory_bytes", {"kind": "used"}),
        "total": registry.get_sample_value("antiphon_gpu_memory_bytes", {"kind": "total"}),
        "busy": registry.get_sample_value("antiphon_gpu_utilisation_ratio"),
    }


def test_a_gpu_is_sampled_when_it_is_scraped():
    assert scraped(GpuLoad(3, 8, 0.5)) == {"used": 3, "total": 8, "busy": 0.5}
    assert scraped(GpuLoad(3, 8, None)) == {"used": 3, "total": 8, "busy": None}
    assert scraped(None) == {"used": None, "total": None, "busy": None}


def test_nobody_asks_the_gpu_before_a_scrape():
    asked: list[int] = []
    registry = CollectorRegistry()
    watch_gpu(lambda: asked.append(1), registry)
    assert asked == []
    list(registry.collect())
    assert asked == [1]


# --- turns


def test_one_worker_loads_at_a_time(tmp_path):
    order = tmp_path / "order"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom tasks import loading\n"
        "with loading.turn_on('GPU-0', 30, Path(sys.argv[1])):\n"
        "    log = open(sys.argv[2], 'a', buffering=1)\n"
        "    log.write('begin\\n'); time.sleep(0.3); log.write('end\\n')"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(order)]
    loaders = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [loader.wait(30) for loader in loaders] == [0, 0, 0]
    assert order.read_text().split() == ["begin", "end"] * 3


def test_who_waited_long_enough_loads_all_the_same(tmp_path):
    with loading.turn_on("GPU-0", 1, tmp_path), loading.turn_on("GPU-0", 0, tmp_path):
        pass  # a second hold of the same file is another worker's


def test_a_turn_that_cannot_be_written_down_is_no_reason_not_to_load(tmp_path):
    with loading.turn_on("GPU-0", 1, tmp_path / "nowhere"):
        pass
