"""Functions of the server's own in spoken conversations: real processes, a scripted model, and a plain client."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ga_line import SERVER
from tests.house import House, open_house, wait_for
from tests.scripted_llm import Answer, Json, ScriptedLlm, scripted_llm
from tests.talker import Talker
from tests.whole import SPEECH_S

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: Longest run of a function, and how long the web waits for a model that says nothing: a function may take longer.
TIMEOUT_S, FIRST_WORD_S = 3.5, 2.5

#: The folder of tools. They write down that they ran, and the slow ones wait for a file.
TOOLS = '''
import time
from pathlib import Path

HERE = Path(__file__).parent


def _ran(name: str) -> None:
    with (HERE / "ran").open("a") as file:
        file.write(name + " ")


def _wait(gate: str) -> str:
    while not (HERE / gate).exists():
        time.sleep(0.01)
    return "sunny"


def weather(gate: str) -> str:
    """The weather."""
    _ran("weather")
    return "sunny"


def slow(gate: str) -> str:
    """The weather, slowly."""
    _ran(f"slow-{gate}")
    return _wait(gate)


def once(gate: str) -> str:
    """Has effects."""
    _ran(f"once-{gate}")
    return _wait(gate)


once.once = True


def broken(gate: str) -> str:
    """Fails."""
    raise RuntimeError("the secret of " + gate)
'''


def script(request: Json) -> Answer:
    """Calls what the instructions name, at the first thing that is said; says what it was told; else is brief."""
    tool, gate = request["messages"][0]["content"].split()
    last = request["messages"][-1]
    if last["role"] == "tool":
        return ["It ", "is ", *(f"{word} " for word in last["content"].split())], []
    said = " ".join(message["content"] for message in request["messages"] if message["role"] == "user")
    if said.count("one") == 1:  # two things said in a row are one message
        return [], [(tool, {"gate": gate})]
    return ["Of ", "course."], []


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedLlm]:
    with scripted_llm(script) as model:
        yield model


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    (folder / "weather.py").write_text(TOOLS)
    return folder


@pytest.fixture(scope="module")
def house(model: ScriptedLlm, tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    env = {
        **model.settings,
        "ANTIPHON_TTS__OPTIONS": '{"first_audio_after_s": 0.02, "word_audio_s": 0.16}',
        "ANTIPHON_TOOLS__FOLDER": str(tools),
        "ANTIPHON_TOOLS__TIMEOUT_S": str(TIMEOUT_S),
        "ANTIPHON_PACING__FIRST_WORD_DEADLINE_S": str(FIRST_WORD_S),
        "ANTIPHON_TOOLS__WAIT_PHRASE_AFTER_MS": "300",
    }
    with open_house(tmp_path_factory.mktemp("house"), workers=1, env=env) as house:
        yield house


@dataclass
class Scene:
    """A conversation in which the first thing said makes the model call `tool`."""

    house: House
    model: ScriptedLlm
    folder: Path
    talker: Talker
    tool: str
    gate: str

    def open_gate(self) -> None:
        (self.folder / self.gate).touch()

    @property
    def runs(self) -> int:
        """How often the function began, in this conversation."""
        ran = self.folder / "ran"
        return ran.read_text().split().count(f"{self.tool}-{self.gate}") if ran.exists() else 0

    @property
    def prompts(self) -> list[list[Json]]:
        """What the model was asked in this conversation."""
        named = f"{self.tool} {self.gate}"
        return [r["messages"] for r in self.model.requests if r["messages"][0]["content"] == named]

    async def begun(self) -> None:
        """Until the function runs."""
        async with asyncio.timeout(20):
            while not self.runs:
                await asyncio.sleep(0.01)


Play = Callable[..., None]


@pytest.fixture
def play(house: House, model: ScriptedLlm, tools: Path, request: pytest.FixtureRequest) -> Play:
    def play(tool: str, story: Callable[[Scene], Awaitable[None]]) -> None:
        async def run() -> None:
            gate = request.node.name.replace("[", "-").strip("]")
            async with Talker(house.url, session={"instructions": f"{tool} {gate}"}) as talker:
                talker.speak(SPEECH_S)
                try:
                    await story(Scene(house, model, tools, talker, tool, gate))
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{talker.story()}\n{house.said()}") from error
                assert talker.complaints == [] and talker.errors == []
                for heard in talker.heard:
                    SERVER.validate_python(heard.event)

        asyncio.run(run())

    return play


def roles(prompt: list[Json]) -> str:
    return " ".join(message["role"] for message in prompt)


def test_a_spoken_turn_uses_a_function_and_the_client_hears_an_ordinary_reply(play: Play) -> None:
    async def story(scene: Scene) -> None:
        answer = await scene.talker.answered(1)
        assert (answer.transcript.strip(), answer.status) == ("It is sunny", ["completed"])
        assert answer.samples > 0
        items = [heard.event["item"]["type"] for heard in scene.talker.of("response.output_item.done")]
        assert items == ["message"], "a call would be answered by the client"
        scene.talker.speak(SPEECH_S)
        assert (await scene.talker.answered(2)).transcript.strip() == "Of course."
        *_, remembered = scene.prompts
        assert roles(remembered) == "system user assistant tool assistant user"
        assert [remembered[3]["content"], remembered[4]["content"]] == ["sunny", "It is sunny"]

    play("weather", story)


def test_a_slow_function_is_bridged_by_a_phrase_that_is_heard_and_not_remembered(play: Play) -> None:
    async def story(scene: Scene) -> None:
        await scene.talker.until("response.output_audio.delta")
        assert scene.talker.of("response.done") == []
        scene.open_gate()
        answer = await scene.talker.answered(1)
        assert answer.transcript.strip() == "One moment. It is sunny"
        scene.talker.speak(SPEECH_S)
        await scene.talker.answered(2)
        assert [m["content"] for m in scene.prompts[-1] if m["role"] == "assistant"] == ["", "It is sunny"]
        assert "moment" not in json.dumps(scene.prompts)

    play("slow", story)


def test_a_function_that_takes_too_long_is_given_up_and_the_model_says_so(play: Play) -> None:
    async def story(scene: Scene) -> None:
        answer = await scene.talker.answered(1)
        assert answer.transcript.strip().endswith(
            f"It is There is no result: it took longer than {TIMEOUT_S:g} s."
        )
        scene.open_gate()

    play("slow", story)


def test_an_exception_is_something_to_talk_about_and_nothing_for_the_log(play: Play, house: House) -> None:
    async def story(scene: Scene) -> None:
        answer = await scene.talker.answered(1)
        assert answer.transcript.strip() == "It is The function failed (RuntimeError)."
        log = "".join(child.log.read_text() for child in house.workers["llm"])
        assert re.search(r"tool broken: failed after [\d.]+ s \(RuntimeError at weather.py:\d+\)", log)
        assert "secret" not in log and scene.gate not in log

    play("broken", story)


def test_who_barges_in_while_a_function_runs_is_answered_and_the_model_knows_that_it_ran(play: Play) -> None:
    async def story(scene: Scene) -> None:
        await scene.talker.until("response.output_audio.delta")
        scene.talker.speak(SPEECH_S)
        interrupted = await scene.talker.answered(1)
        assert interrupted.status == ["cancelled"]
        assert (await scene.talker.answered(2)).transcript.strip() == "Of course."
        scene.open_gate()
        scene.talker.speak(SPEECH_S)
        await scene.talker.answered(3)
        assert roles(scene.prompts[-1]) == "system user assistant tool user assistant user"
        assert "interrupted" in scene.prompts[-1][3]["content"] and scene.runs == 1

    play("slow", story)


@pytest.mark.parametrize(("tool", "runs"), [("slow", 2), ("once", 1)])
def test_a_worker_killed_while_a_function_runs_leaves_a_reply_that_is_whole(
    play: Play, house: House, tool: str, runs: int
) -> None:
    async def story(scene: Scene) -> None:
        await scene.begun()
        doomed = house.worker_of("llm", scene.talker.sid)
        doomed.kill()
        if runs > 1:
            async with asyncio.timeout(20):
                while scene.runs < runs:
                    await asyncio.sleep(0.01)
        scene.open_gate()
        answer = await scene.talker.answered(1)
        assert answer.status == ["completed"] and scene.runs == runs
        if runs > 1:
            assert answer.transcript.strip() in ("It is sunny", "One moment. It is sunny")
        else:
            assert "It is not known whether this was done" in answer.transcript
        asked = [prompt for prompt in scene.prompts if prompt[-1]["role"] == "user"]
        assert len(asked) <= 2, "only a reply made ahead is asked for twice"

    house.replace_dead(workers=1)
    house.start_worker("llm")
    house.ready()
    play(tool, story)


def test_a_folder_that_cannot_be_used_ends_the_worker_with_the_reason(house: House, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def f(x):\n    return x\n")
    worker = house.start_worker("llm", ANTIPHON_TOOLS__FOLDER=str(tmp_path))
    worker.told = True
    wait_for(lambda: not worker.alive, "the worker to end")
    assert worker.process.returncode == 3
    assert "bad.py: function 'f' has no docstring" in worker.log.read_text()
