"""What a profile needs around it: Redis, who else is at work, codecs, characters, weights, engines and GPUs."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from types import ModuleType

import numpy as np

from cli import columns, fleet_picture, gpu_plan, models, redis_servers
from cli.doctor import variables
from cli.doctor.finding import Finding, Verdict, fail, ok, side_by_side, warn
from cli.gpu_plan import NoAnswer, Wanted
from cli.servers import require_answer
from cli.voices import report
from cli.weight_store import State, Weight, weights_of
from config.errors import AntiphonError, ConfigError
from config.redis_keys import STAGES
from config.settings import SAMPLE_RATE, Settings
from gpu_workers import loader
from tasks import fleet, gpus, redis_check, streams
from tasks.placement import Ask, check_room
from tasks.redis_check import Severity

#: A tone comes back from Opus with about this level; a broken library gives silence or noise.
TONE_LEVEL = 0.3

#: Of an engine whose packages take long to import.
SLOW = "no fault in itself; with --gpu the doctor waits for it, as `antiphon up` does"

#: Files that are named; of more, how many.
FEW = 3


def redis(urls: tuple[str | None, str | None]) -> Iterator[Finding]:
    """Both servers, their clocks, and the processes that beat on them."""
    state_url, media_url = urls
    if state_url is None or media_url is None:
        given = next((one for one in urls if one), None)
        if given is not None:
            yield warn("redis", "only one of the two servers is named", "give --redis-url and --media-url")
        yield _own_server()
        return
    state, media = (streams.connect(url, connections=2) for url in (state_url, media_url))
    try:
        silent = list(_silent({state_url: state, media_url: media}))
        yield from silent
        if not silent:
            yield from _servers(state, media)
            yield _fleet(fleet.look(state))
    finally:
        state.close()
        media.close()


def _own_server() -> Finding:
    """Raises ConfigError where `antiphon up` has none to start."""
    return ok("redis", f"none is named: `antiphon up` starts two of its own, by {redis_servers.binary()}")


def _silent(clients: dict[str, streams.Client]) -> Iterator[Finding]:
    for url, client in clients.items():
        try:
            require_answer(url, client)
        except ConfigError as error:
            yield _failed("redis", error)


def _servers(state: streams.Client, media: streams.Client) -> Iterator[Finding]:
    """What is wrong, and of each server that has nothing wrong how it is."""
    findings = redis_check.check(state, media)
    for one in findings:
        bad = one.severity is Severity.REFUSE
        yield Finding(
            "redis", Verdict.FAIL if bad else Verdict.WARN, f"the {one.server} Redis {one.what}", one.remedy
        )
    for name, client in (("state", state), ("media", media)):
        if not any(one.server == name for one in findings):
            facts = redis_check.ask(client)
            full = f"{columns.megabytes(facts.used_bytes)} of {columns.megabytes(facts.most_bytes or 0)}"
            clock = f"clocks differ by {abs(facts.ahead_s) * 1e3:.0f} ms"
            yield ok("redis", f"{name}: {fleet_picture.version(facts)}, {full}, {clock}")


def _fleet(members: Sequence[fleet.Member]) -> Finding:
    if why := fleet.meets(members):
        what, _, remedy = why.partition(". ")
        return fail("fleet", what, remedy)
    working = [member for member in members if member.works]
    return ok("fleet", f"{len(working)} processes at work, with whose version this one goes together")


def codecs() -> Iterator[Finding]:
    """A tone through Opus and back."""
    try:
        codec: ModuleType = importlib.import_module("tasks.codec")
    except Exception as error:  # opuslib raises a bare Exception where there is no libopus
        yield fail(
            "codecs",
            f"Opus cannot be used: {error}",
            "install libopus (apt install libopus0, brew install opus)",
        )
        return
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE // 5) / SAMPLE_RATE)).astype(np.float32)
    decoder = codec.decoder("opus")
    heard = np.concatenate([decoder.decode(packet) for packet in codec.encoder("opus").encode(tone)])
    level = float(np.sqrt(np.mean(heard[len(heard) // 2 :] ** 2))) if len(heard) else 0.0
    if len(heard) != len(tone) or abs(level - TONE_LEVEL) > 0.1:
        yield fail(
            "codecs", f"a tone did not come back from Opus (level {level:.2f})", "install another libopus"
        )
    else:
        yield ok("codecs", "Opus encodes and decodes")


def characters(settings: Settings) -> Iterator[Finding]:
    """The voices file, and who of it can be talked to."""
    found = report(settings.voices_file, settings)
    if found.mistake:
        yield fail("voices", found.mistake, "antiphon voices check, when it is mended")
        return
    talk = sum(not role.unavailable for role in found.roles)
    said = f"{talk} of {len(found.roles)} characters of {settings.voices_file.name} can be talked to"
    if not talk:
        yield fail("voices", said, "antiphon voices check says why")
    else:
        yield ok("voices", said)


def weights(settings: Settings) -> Iterator[Finding]:
    """By their sizes: to read them whole takes too long for a doctor."""
    folder = settings.models_dir.expanduser()
    spared = models.spared(settings, (), everything=False)
    found = weights_of(models.of_profile(settings), folder)
    good = 0
    for model, group in groupby(found, lambda weight: weight.model):
        files = list(group)
        wrong = [weight for weight in files if weight.state() is not State.PRESENT]
        if wrong and model.id in spared and all(one.state() is State.MISSING for one in files):
            yield ok("models", f"{model.id} is not there; the profile does without it")
        elif wrong:
            yield fail("models", f"{model.id}: {_named(wrong)}", models.remedy(model))
        elif unknown := [weight for weight in files if not weight.sha256]:
            what = f"{model.id}: nobody knows the checksum of {_named(unknown)}"
            yield warn("models", what, models.remedy(model))
        else:
            good += 1
    if good or not found:
        whole = "; `antiphon models check` reads them whole" if good else ""
        there = f"{good} models are there, of the right size" if found else "the profile takes no weights"
        yield ok("models", f"{there}{whole}")


def _named(of: Sequence[Weight]) -> str:
    if len(of) > FEW:
        return f"{len(of)} files {', '.join(sorted({one.state().value for one in of}))}"
    return ", ".join(f"{one.file.name} ({one.state().value})" for one in of)


def missing_bytes(settings: Settings) -> int:
    """What `antiphon models pull` would fetch, as far as sizes are known."""
    found = weights_of(models.of_profile(settings, optional=False), settings.models_dir.expanduser())
    return sum(
        one.file.size or 0 for one in found if not one.model.installed and one.state() is not State.PRESENT
    )


# --- engines and GPUs


def engines(settings: Settings, wanted: Wanted | None, patience_s: float) -> Iterator[Finding]:
    """Whether each engine is installed and its options fit, and whether what they need is there. Loads none.

    wanted: as `antiphon up --gpu` takes it; then all of it is planned, as `up` would.
    """
    answers = side_by_side(
        {stage: partial(_ask, settings, stage, patience_s) for stage in STAGES}, patience_s
    )
    for stage in STAGES:
        if stage not in answers:
            what = f"{stage} engine {settings.stage(stage).engine!r} did not import within {patience_s:g} s"
            yield warn("engines", what, SLOW)
    for answer in answers.values():
        yield from answer.findings
    asked = [ask for stage in STAGES if stage in answers and (ask := answers[stage].ask)]
    if asked:
        yield ok("engines", f"{', '.join(map(str, asked))}: installed, and their options fit")
    if wanted is not None:
        plan = gpu_plan.plan(settings, wanted, {}, gpu_plan.environment_of(settings))
        yield ok("gpu", "; ".join(" ".join(line.split()) for line in plan.table))
        return
    yield _gpu([ask for ask in asked if ask.wants_gpu], all_known=len(asked) == len(STAGES))


@dataclass(frozen=True)
class _Answer:
    """What came of asking an engine."""

    ask: Ask | None
    findings: tuple[Finding, ...] = ()


def _ask(settings: Settings, stage: str, patience_s: float) -> _Answer:
    """An engine that this interpreter runs is asked here; others by theirs, as `antiphon up` does."""
    choice = settings.stage(stage)
    environment = gpu_plan.environment_of(settings)
    try:
        if choice.python is not None:
            return _Answer(gpu_plan.ask(settings, {stage: {}}, environment, patience_s)[stage])
        ask = Ask(stage, choice.engine, choice.slots, loader.needs(stage, choice, choice.slots))
        slips = variables.check_options(stage, environment, loader.option_names(stage, choice))
        return _Answer(ask, tuple(slips))
    except NoAnswer as error:
        return _Answer(None, (warn("engines", str(error), SLOW),))
    except AntiphonError as error:
        return _Answer(None, (_failed("engines", error),))


def _failed(check: str, error: AntiphonError) -> Finding:
    """Our errors say what is wrong, and after that how to mend it."""
    what, _, remedy = str(error).partition("; ")
    return fail(check, what, remedy or "mend the profile, or the variable that overrides it")


def _gpu(wanting: Sequence[Ask], *, all_known: bool) -> Finding:
    """wanting: the engines that cannot do without one. all_known: whether all engines have said."""
    try:
        there = gpus.found()
        seen = (
            ", ".join(f"{gpu} with {gpu.free_mb} of {gpu.total_mb} MB free" for gpu in there)
            or "there is none"
        )
    except gpus.NoDriver as error:
        there, seen = [], str(error)
    names = ", ".join(map(str, wanting))
    if not wanting:
        return ok(
            "gpu", f"{seen}; {'no engine of the profile wants one' if all_known else 'not all engines said'}"
        )
    if not there:
        return fail("gpu", f"{seen}; wanted by {names}", "install NVIDIA's driver, or choose another profile")
    if len(there) > 1:
        return ok("gpu", f"{seen}; --gpu (as for `antiphon up`) says whether a plan fits")
    try:
        check_room(wanting, there[0])
    except ConfigError as error:
        return _failed("gpu", error)
    return ok("gpu", f"{seen}; there is room for {names}")
