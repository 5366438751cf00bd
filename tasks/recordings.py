"""Recordings on their way to a voice, and the voices that were made of them, on the media server."""

import hmac
import time
from contextlib import suppress
from typing import Any, cast

from config import redis_keys as keys
from config.messages import encode
from config.voice_messages import (
    CustomVoice,
    VoiceMade,
    VoiceRefused,
    decode_custom_voice,
    decode_voice_answer,
)
from tasks.shared_time import shared_time
from tasks.streams import Client, RedisError

#: Life of a recording and of what is said of it, should nobody ask for them: longer than any wait.
VOICE_UPLOAD_S = 60

#: One blocking read of a long wait, well under `SOCKET_TIMEOUT_S`.
BLOCK_S = 2.0


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


def own_voice(media: Client, voice: str, owner: str, keep_s: int) -> None:
    """From now on the voice is this one's, who alone may delete it."""
    media.set(keys.voice_owner(voice), owner, ex=keep_s)


def drop_voice(media: Client, voice: str, owner: str) -> bool:
    """Whether the voice was there, and its owner's or nobody's; then it is there no more."""
    known = cast("bytes | None", media.get(keys.voice_owner(voice)))
    if known is not None and not hmac.compare_digest(known, owner.encode()):
        return False
    pipe = media.pipeline(transaction=True)
    pipe.unlink(keys.custom_voice(voice))
    pipe.unlink(keys.voice_owner(voice))
    pipe.zrem(keys.custom_voices(), voice)
    return bool(pipe.execute()[0])


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
    pipe = media.pipeline(transaction=False)
    pipe.expire(keys.voice_owner(voice), keep_s)
    pipe.zadd(keys.custom_voices(), {voice: shared_time.now_s() + keep_s})
    pipe.execute()
    return decode_custom_voice(data)


def has_voice(media: Client, voice: str) -> bool:
    """Whether a cloned voice is there."""
    return bool(media.exists(keys.custom_voice(voice)))
