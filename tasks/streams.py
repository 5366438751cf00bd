"""Everything that moves through Redis streams and channels, and the beats of workers.

With `tasks/leases.py` the only module that sends commands to Redis. Works under gevent and threads alike.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
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
from tasks.wire import Command as WireCommand
from tasks.wire import Wire

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
    """Reads streams over a connection of its own."""

    def __init__(self, media: Client) -> None:
        self._wire = Wire(media)

    def read(
        self, cursors: Mapping[str, str], block_ms: int, count: int = 64
    ) -> list[tuple[str, list[Entry]]]:
        """As the function of that name. Call it from one thread."""
        blocking: tuple[str | int, ...] = ("BLOCK", block_ms) if block_ms else ()
        (answer,) = self._wire.ask(
            [("XREAD", "COUNT", count, *blocking, "STREAMS", *cursors, *cursors.values())]
        )
        if isinstance(answer, RedisError):
            raise answer
        return [
            (key.decode(), [(at.decode(), said[1]) for at, said in entries]) for key, entries in answer or ()
        ]


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


class Inputs:
    """Adds input entries of many sessions in one round trip; what is older than `keep_s` is trimmed, and dies soon."""

    def __init__(self, media: Client, keep_s: float) -> None:
        self._wire = Wire(media)
        self._keep_s = keep_s
        self._lasting: set[str] = set()
        """Streams that were told when to die, since `_told_s`."""
        self._told_s = 0.0

    def append(
        self, entries: Sequence[tuple[str, InEntry]], told: Sequence[tuple[str, Command]] = ()
    ) -> None:
        """In order. Call it from one thread, or greenlet. Raises RedisError when not all was added.

        told: what workers are told with it. It may be lost, and is if the server is away.
        """
        words: list[WireCommand] = [
            ("XADD", keys.control(worker), "MAXLEN", "~", CONTROL_ITEMS, "*", "d", encode(what))
            for worker, what in told
        ]
        try:
            answers = self._wire.ask([*words, *self._commands(entries)], again=False)[len(words) :]
        except (redis.ConnectionError, redis.TimeoutError):
            self._lasting.clear()  # it may have come back empty
            answers = self._wire.ask(self._commands(entries), again=False)
        for answer in answers:
            if isinstance(answer, RedisError):
                raise answer

    def _commands(self, entries: Sequence[tuple[str, InEntry]]) -> list[WireCommand]:
        now_s = time.time()
        oldest = int((now_s - self._keep_s) * 1000)
        if abs(now_s - self._told_s) > self._keep_s / 2:
            self._lasting, self._told_s = set(), now_s
        commands: list[WireCommand] = []
        for sid, entry in entries:
            key = keys.audio_in(sid)
            commands.append(("XADD", key, "MINID", "~", oldest, "*", "d", encode(entry)))
            if sid not in self._lasting:
                self._lasting.add(sid)
                commands.append(("EXPIRE", key, int(2 * self._keep_s)))
        return commands


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
    """Tells a worker something at once; it may be lost, and is if the server is away."""
    with suppress(RedisError):
        media.xadd(keys.control(worker), {"d": encode(what)}, maxlen=CONTROL_ITEMS, approximate=True)


def keep_control(media: Client, worker: str) -> None:
    """A worker is there: what it is told does not die yet."""
    media.expire(keys.control(worker), CONTROL_S)


class Channels:
    """One pub/sub connection for all sessions of a process; broken once, it stays so."""

    def __init__(self, media: Client) -> None:
        self._wire = Wire(media)
        self._wire.send([("SUBSCRIBE", "antiphon")])

    def add(self, *sids: str) -> None:
        """Subscribes to sessions' results."""
        self._say("SUBSCRIBE", sids)

    def remove(self, sid: str) -> None:
        """Unsubscribes."""
        self._say("UNSUBSCRIBE", [sid])

    def _say(self, what: str, sids: Iterable[str]) -> None:
        if not self._wire.open:
            raise redis.ConnectionError("the channels are broken")
        self._wire.send([(what, *map(keys.results, sids))])

    def next(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """The next results of any sessions, each with its id and still packed; none when none came in time."""
        return [
            (keys.session_of(said[1]), said[2])
            for said in self._wire.arrivals(timeout_s)
            if isinstance(said, list) and said[0] == b"message"
        ]


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
