"""Everything that moves through Redis streams and channels, and the beats of workers.

With `tasks/leases.py` the only module that sends commands to Redis. Works under gevent and threads alike.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from config import redis_keys as keys
from config.messages import (
    Command,
    CustomVoice,
    Drain,
    InEntry,
    Result,
    VoiceMade,
    VoiceRefused,
    decode_custom_voice,
    decode_in,
    decode_result,
    decode_voice_answer,
    encode,
)

#: Every wait for Redis ends by then; blocking reads stay well under it. A loop may wait so twice, as commands are tried
#: once more, and must not seem to hang: a server that says nothing for a while is no reason to end a worker.
SOCKET_TIMEOUT_S = 3.0

#: The same for a connection.
CONNECT_TIMEOUT_S = 2.0

#: Entries of `ctl:{worker}`: a second of commands for a full worker.
CONTROL_ITEMS = 1000

#: Life of that stream after its worker.
CONTROL_S = 60

#: Life of the list of late replies, should nobody ask for it.
LATE_REPLIES_S = 300

#: Life of a recording and of what is said of it, should nobody ask for them: longer than any wait.
VOICE_UPLOAD_S = 60

#: One blocking read of a long wait, well under `SOCKET_TIMEOUT_S`.
BLOCK_S = 2.0

RedisError = redis.RedisError

#: A connection to one of the two servers; only this module and `tasks/leases.py` use its commands.
Client = redis.Redis


def connect(url: str, *, connections: int = 64) -> Client:
    """A client whose commands are tried again once after a broken connection."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        max_connections=connections,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_keepalive=True,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 1),
    )


def answers(client: redis.Redis) -> bool:
    """Whether the server is there, takes our password and has loaded its data."""
    try:
        return bool(client.ping())
    except RedisError:
        return False


def round_trip_s(client: Client) -> float:
    """How long a PING takes, over a connection that is open already. Raises RedisError."""
    began = time.perf_counter()
    client.ping()
    return time.perf_counter() - began


def memory(client: Client) -> tuple[int, int]:
    """Bytes in use, and the most the server may take (0: no limit)."""
    said: Any = client.info("memory")
    return int(said["used_memory"]), int(said.get("maxmemory", 0))


def queues(state: Client, names: Sequence[str]) -> dict[str, tuple[int, float | None]]:
    """Of each Celery queue: its tasks that nobody has taken, and when the oldest was asked for (unix time; None: there
    is none, or it does not say)."""
    pipe = state.pipeline(transaction=False)
    for name in names:
        for key in keys.queue_lists(name):
            pipe.llen(key)
            pipe.lindex(key, -1)  # new tasks come in from the left
    answers = iter(pipe.execute())
    found: dict[str, tuple[int, float | None]] = {}
    for name in names:
        lists = [(next(answers), next(answers)) for _ in keys.queue_lists(name)]
        asked = [at for _, task in lists if task and (at := _asked_s(task)) is not None]
        found[name] = sum(length for length, _ in lists), min(asked, default=None)
    return found


def remember_most(
    state: Client, queue: str, at: int, seats: float, *, since: int, ttl_s: int
) -> dict[int, float]:
    """The most slots that the queue needed in each piece of time from `since` on, these at `at` among them."""
    key = keys.scale(queue)
    pipe = state.pipeline(transaction=False)
    pipe.zadd(key, {str(at): seats}, gt=True)
    pipe.expire(key, ttl_s)
    pipe.zrange(key, 0, -1, withscores=True)
    found = {int(piece): float(most) for piece, most in pipe.execute()[2]}
    if gone := [str(piece) for piece in found if piece < since]:
        state.zrem(key, *gone)
    return {piece: most for piece, most in found.items() if piece >= since}


def note_late_reply(media: Client, sid: str, reply: int) -> None:
    """A reply's audio came late. Nobody waits for this, and it may be lost."""
    with suppress(RedisError):
        media.zadd(keys.late_replies(), {f"{sid}:{reply}": time.time()})
        media.expire(keys.late_replies(), LATE_REPLIES_S)


def late_replies(media: Client, since_s: float) -> int:
    """How many there were since this unix time; those before are forgotten."""
    pipe = media.pipeline(transaction=False)
    pipe.zremrangebyscore(keys.late_replies(), "-inf", since_s)
    pipe.zcard(keys.late_replies())
    return int(pipe.execute()[1])


def _asked_s(task: bytes) -> float | None:
    try:
        return _task.decode(task).headers.asked_s
    except msgspec.DecodeError:
        return None


class _Headers(msgspec.Struct):
    asked_s: float | None = None


class _Task(msgspec.Struct):
    """What is read of a task as Celery puts it into a list."""

    headers: _Headers


_task = msgspec.json.Decoder(_Task)

Entry = tuple[str, bytes]


def _flat(answer: Any) -> list[Entry]:
    return [(entry_id.decode(), fields[b"d"]) for entry_id, fields in answer or ()]


def read(
    media: Client, cursors: Mapping[str, str], block_ms: int, count: int = 64
) -> list[tuple[str, list[Entry]]]:
    """New entries of all streams after their cursors, waiting at most `block_ms` (0: not at all)."""
    answer: Any = media.xread(cast(Any, dict(cursors)), count=count, block=block_ms or None)
    return [(key.decode(), _flat(entries)) for key, entries in answer or ()]


class Reader:
    """Reads streams over a connection of its own; borrowing one from the pool for each read costs a tenth of it."""

    def __init__(self, media: Client) -> None:
        self._media = media
        self._own: Client | None = None

    def read(self, cursors: Mapping[str, str], block_ms: int) -> list[tuple[str, list[Entry]]]:
        """As the function of that name. Call it from one thread."""
        if self._own is None:
            self._own = cast(Client, cast(Any, self._media).client())
        return read(self._own, cursors, block_ms)


def newest_result(media: Client, stage: str, sid: str, reply: int) -> Result | None:
    """The last result stored for a stage: where a successor goes on."""
    entries = _flat(media.xrevrange(keys.replay(stage, sid, reply), count=1))
    return decode_result(entries[0][1]) if entries else None


def results_after(media: Client, stage: str, sid: str, reply: int, epoch: int, seq: int) -> list[Result]:
    """Stored results newer than (epoch, seq), in order; (0, 0) gives all."""
    first = f"({epoch}-{seq}" if epoch else "-"
    entries = _flat(media.xrange(keys.replay(stage, sid, reply), min=first))
    return [decode_result(data) for _, data in entries]


def newest_input(media: Client, sid: str) -> InEntry | None:
    """The last entry of the session's input."""
    entries = _flat(media.xrevrange(keys.audio_in(sid), count=1))
    return decode_in(entries[0][1]) if entries else None


def append_inputs(media: Client, entries: Sequence[tuple[str, InEntry]], keep_s: float) -> None:
    """Adds input entries of many sessions in one round trip; what is older than `keep_s` is trimmed, and dies soon."""
    oldest = int((time.time() - keep_s) * 1000)
    pipe = media.pipeline(transaction=False)
    for sid, entry in entries:
        pipe.xadd(keys.audio_in(sid), {"d": encode(entry)}, minid=oldest, approximate=True)
    for sid in {sid for sid, _ in entries}:
        pipe.expire(keys.audio_in(sid), int(2 * keep_s))
    pipe.execute()


def trim_results(media: Client, stage: str, sid: str, epoch: int, seq: int) -> None:
    """Forgets stored results before (epoch, seq), which stays: a successor starts from it.

    With the server away, this and its siblings forget nothing: what is not told to die has a last day anyway.
    """
    with suppress(RedisError):
        media.xtrim(keys.replay(stage, sid, 0), minid=f"{epoch}-{seq}", approximate=True)


def forget_text(media: Client, sid: str, replies: Sequence[int]) -> None:
    """Drops the text of replies that are over."""
    if replies:
        with suppress(RedisError):
            media.unlink(*(keys.replay("llm", sid, reply) for reply in replies))


def forget_media(media: Client, sid: str, after_s: int) -> None:
    """Lets everything said in a session die `after_s` from now."""
    pipe = media.pipeline(transaction=False)
    for key in (keys.audio_in(sid), keys.replay("stt", sid, 0), keys.replay("tts", sid, 0)):
        pipe.expire(key, after_s)
    with suppress(RedisError):
        pipe.execute()


def command(media: Client, worker: str, what: Command | Drain) -> None:
    """Tells a worker something that may be lost, and is if the server is away."""
    with suppress(RedisError):
        media.xadd(keys.control(worker), {"d": encode(what)}, maxlen=CONTROL_ITEMS, approximate=True)


def keep_control(media: Client, worker: str) -> None:
    """A worker is there: what it is told does not die yet."""
    media.expire(keys.control(worker), CONTROL_S)


class Channels:
    """One pub/sub connection for all sessions of a process."""

    def __init__(self, media: Client) -> None:
        self._pubsub: Any = cast(Any, media).pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe("antiphon")

    def add(self, sid: str) -> None:
        """Subscribes to a session's results."""
        self._pubsub.subscribe(keys.results(sid))

    def remove(self, sid: str) -> None:
        """Unsubscribes."""
        self._pubsub.unsubscribe(keys.results(sid))

    def next(self, timeout_s: float) -> tuple[str, Result] | None:
        """The next result of any session, with its id; None when none came in time. Survives a reconnect."""
        message: Any = self._pubsub.get_message(timeout=timeout_s)
        if not message:
            return None
        return keys.session_of(message["channel"]), decode_result(message["data"])


def offer_recording(media: Client, upload: str, data: bytes) -> None:
    """Puts a recording where a voice encoder finds it; it dies soon."""
    media.set(keys.voice_upload(upload), data, ex=VOICE_UPLOAD_S)


def take_recording(media: Client, upload: str) -> bytes | None:
    """The recording, which nobody else finds then; None when it was taken, withdrawn, or too old."""
    return cast("bytes | None", media.getdel(keys.voice_upload(upload)))


def withdraw_recording(media: Client, upload: str) -> None:
    """Nobody waits for it any more."""
    with suppress(RedisError):
        media.unlink(keys.voice_upload(upload), keys.voice_answer(upload))


def answer_recording(media: Client, upload: str, answer: VoiceMade | VoiceRefused) -> None:
    """Says what became of it."""
    pipe = media.pipeline(transaction=True)
    pipe.rpush(keys.voice_answer(upload), encode(answer))
    pipe.expire(keys.voice_answer(upload), VOICE_UPLOAD_S)
    pipe.execute()


def await_answer(media: Client, upload: str, deadline: float) -> VoiceMade | VoiceRefused | None:
    """What became of it; None when nobody said by the monotonic `deadline`. Lets other greenlets run."""
    while (left_s := deadline - time.monotonic()) > 0:
        found: Any = media.blpop([keys.voice_answer(upload)], timeout=min(BLOCK_S, max(0.1, left_s)))
        if found:
            answer: VoiceMade | VoiceRefused = decode_voice_answer(found[1])
            return answer
    return None


def keep_voice(media: Client, voice: str, custom: CustomVoice, keep_s: int, most: int) -> bool:
    """Keeps a cloned voice; False when there are `most` of them already (a few more where several come at once)."""
    now = time.time()
    media.zremrangebyscore(keys.custom_voices(), "-inf", now)
    if media.zcard(keys.custom_voices()) >= most:
        return False
    pipe = media.pipeline(transaction=True)
    pipe.set(keys.custom_voice(voice), encode(custom), ex=keep_s)
    pipe.zadd(keys.custom_voices(), {voice: now + keep_s})
    pipe.execute()
    return True


def use_voice(media: Client, voice: str, keep_s: int) -> CustomVoice | None:
    """A cloned voice, which lives as long again from now; None when it is not there."""
    data = cast("bytes | None", media.getex(keys.custom_voice(voice), ex=keep_s))
    if data is None:
        return None
    media.zadd(keys.custom_voices(), {voice: time.time() + keep_s})
    return decode_custom_voice(data)


def has_voice(media: Client, voice: str) -> bool:
    """Whether a cloned voice is there."""
    return bool(media.exists(keys.custom_voice(voice)))


def beat(state: Client, stage: str, name: str, says: Mapping[str, Any], ttl_s: float) -> None:
    """Advertises a worker for `ttl_s`."""
    ttl_ms = int(ttl_s * 1000)
    pipe = state.pipeline(transaction=False)
    pipe.hset(keys.worker(stage, name), mapping=cast(Any, {**says, "ttl_ms": ttl_ms}))
    pipe.pexpire(keys.worker(stage, name), ttl_ms)
    pipe.zadd(keys.workers(stage), {name: time.time()})
    pipe.execute()


def retire(state: Client, stage: str, name: str) -> None:
    """Takes a worker off the list."""
    pipe = state.pipeline(transaction=False)
    pipe.delete(keys.worker(stage, name))
    pipe.zrem(keys.workers(stage), name)
    pipe.execute()


def workers(state: Client, stage: str) -> dict[str, dict[str, str]]:
    """What each live worker of a stage says of itself, by name."""
    return {name: said for name, (said, _) in advertised(state, (stage,))[stage].items()}


#: What a process says of itself, and how many seconds ago.
Beat = tuple[dict[str, str], float]


def advertised(state: Client, stages: Sequence[str]) -> dict[str, dict[str, Beat]]:
    """By stage and name, in two round trips. Who is alive Redis says: beats die by its clock alone."""
    pipe = state.pipeline(transaction=False)
    for stage in stages:
        pipe.zrange(keys.workers(stage), 0, -1)
    listed = [
        (stage, name.decode()) for stage, found in zip(stages, pipe.execute(), strict=True) for name in found
    ]
    for stage, name in listed:
        pipe.hgetall(keys.worker(stage, name))
        pipe.pttl(keys.worker(stage, name))
    answers = iter(pipe.execute())
    beats: dict[str, dict[str, Beat]] = {stage: {} for stage in stages}
    for (stage, name), fields, left_ms in zip(listed, answers, answers, strict=True):
        said = {k.decode(): v.decode() for k, v in fields.items()}
        if said:
            age_s = int(said.get("ttl_ms", left_ms)) / 1e3 - left_ms / 1e3
            beats[stage][name] = said, max(0.0, age_s)
        else:
            pipe.zrem(keys.workers(stage), name)
    pipe.execute()
    return beats
