"""What `/v1/health` answers: each service, its free slots, and who waits."""

from msgspec import structs

from config.errors import RedisAway
from config.redis_keys import STAGES
from tasks import fleet, queues
from tasks.streams import RedisError, answers
from web.answers import Health, QueueHealth, RedisHealth, StageHealth
from web.patience import promptly
from web.problem import told
from web.runtime import Runtime


def look(runtime: Runtime) -> Health:
    """Now, of the whole fleet. While Redis cannot say, no stage is up."""
    media = _media_answers(runtime)
    try:
        return promptly(lambda: _seen(runtime, media=media))
    except RedisError as error:
        return away(error, media=media)


def _media_answers(runtime: Runtime) -> bool:
    try:
        return promptly(lambda: answers(runtime.media))
    except RedisError:
        return False


def away(error: RedisError, *, media: bool = False) -> Health:
    """The state server does not answer."""
    why = told(RedisAway(type(error).__name__))
    redis = RedisHealth(state=False, media=media)
    return Health(False, False, False, False, ok=False, stages={}, redis=redis, error=why)


def _seen(runtime: Runtime, *, media: bool) -> Health:
    members = fleet.look(runtime.state, STAGES)
    stages = {stage: StageHealth(**said) for stage, said in fleet.counts(members).items()}
    stt, llm, tts = (stages[stage].workers > 0 for stage in STAGES)
    health = Health(
        stt_up=stt,
        llm_up=llm,
        tts_up=tts,
        voice_cloning_up=runtime.uploads.up(),
        ok=media and stt and llm and tts,
        stages=stages,
        redis=RedisHealth(state=True, media=media),
        queue=_queue(runtime, fleet.capacity(members, runtime.settings.admission).sessions),
    )
    refused = {member.name: member.why_not for member in runtime.admission.members if member.why_not}
    return structs.replace(health, refused=refused) if refused else health


def _queue(runtime: Runtime, room: int) -> QueueHealth:
    held, waiting = runtime.admission.reservations.count()
    tasks = {stage: count for stage, (count, _) in queues.queues(runtime.state, STAGES).items()}
    return QueueHealth(held, waiting, room, tasks)
