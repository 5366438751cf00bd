"""Everything that moves through Redis streams and channels, and the beats of workers.

With `tasks/leases.py` the only module that sends commands to Redis. Works under gevent and threads alike.
"""

import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from config import redis_keys as keys
from config.messages import (
    Command,
    CustomVoice,
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
from tasks.shared_time import shared_time

#: Every wait for Redis ends by then; blocking reads stay well under it. A loop may wait so twice, as commands are tried
#: once more, and must not seem to hang: a server that says nothing for a while is no reason to end a worker.
SOCKET_TIMEOUT_S = 3.0

#: The same for a connection.
CONNECT_TIMEOUT_S = 2.0

#: Entries of `ctl:{worker}`: a second of commands for a full worker.
CONTROL_ITEMS = 1000

#: Life of a recording and of what is said of it, should nobody ask for them: longer than any wait.
VOICE_UPLOAD_S = 60

#: One blocking read of a long wait, well under `SOCKET_TIMEOUT_S`.
BLOCK_S = 2.0

#: How soon a link that carries nothing any more is noticed, by a connection that listens as by one that has something
#: to say; without a word from the other end, neither would notice for many minutes. If this were shorter, a link that
#: is away for a moment would cost every connection; a lost packet comes again within a second.
LINK_SILENT_S, PROBE_EVERY_S, PROBES = 3, 1, 3

_PROBING = {
    "TCP_KEEPIDLE": LINK_SILENT_S,
    "TCP_KEEPINTVL": PROBE_EVERY_S,
    "TCP_KEEPCNT": PROBES,
    "TCP_USER_TIMEOUT": 1000 * (LINK_SILENT_S + PROBES * PROBE_EVERY_S),
}

#: The same as socket options, as far as the system has them.
KEEPALIVE = {getattr(socket, name): value for name, value in _PROBING.items() if hasattr(socket, name)}

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
        socket_keepalive_options=KEEPALIVE,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 1),
    )


def answers(client: redis.Redis) -> bool:
    """Whether the server is there, takes our password and has loaded its data."""
    try:
        return bool(client.ping())
    except RedisError:
        return False


def follow_clock(media: Client) -> None:
    """Asks the media server what time it is. Raises RedisError."""
    asked_s = time.monotonic()
    seconds, micros = media.time()
    shared_time.learn(seconds + micros / 1e6, asked_s, time.monotonic())


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
    oldest = int((shared_time.now_s() - keep_s) * 1000)
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


def command(media: Client, worker: str, what: Command) -> None:
    """Tells a worker something that may be lost, and is if the server is away."""
    with suppress(RedisError):
        media.xadd(keys.control(worker), {"d": encode(what)}, maxlen=CONTROL_ITEMS, approximate=True)


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
    now = shared_time.now_s()
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
    media.zadd(keys.custom_voices(), {voice: shared_time.now_s() + keep_s})
    return decode_custom_voice(data)


def has_voice(media: Client, voice: str) -> bool:
    """Whether a cloned voice is there."""
    return bool(media.exists(keys.custom_voice(voice)))


def beat(state: Client, stage: str, name: str, says: Mapping[str, Any], ttl_s: float) -> None:
    """Advertises a worker for `ttl_s`."""
    pipe = state.pipeline(transaction=False)
    pipe.hset(keys.worker(stage, name), mapping=cast(Any, dict(says)))
    pipe.pexpire(keys.worker(stage, name), int(ttl_s * 1000))
    pipe.zadd(keys.workers(stage), {name: time.time()})
    pipe.execute()


def retire(state: Client, stage: str, name: str) -> None:
    """Takes a worker off the list."""
    pipe = state.pipeline(transaction=False)
    pipe.delete(keys.worker(stage, name))
    pipe.zrem(keys.workers(stage), name)
    pipe.execute()


def workers(state: Client, stage: str, ttl_s: float) -> dict[str, dict[str, str]]:
    """What each live worker of a stage says of itself, by name."""
    listing = keys.workers(stage)
    names = [name.decode() for name in cast(list[bytes], state.zrange(listing, 0, -1))]
    pipe = state.pipeline(transaction=False)
    for name in names:
        pipe.hgetall(keys.worker(stage, name))
    said = dict(zip(names, pipe.execute(), strict=True))
    if gone := [name for name, fields in said.items() if not fields]:
        state.zrem(listing, *gone)  # who is alive the server's clock says, by which beats die
    return {
        name: {k.decode(): v.decode() for k, v in fields.items()} for name, fields in said.items() if fields
    }
