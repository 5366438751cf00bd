"""The tree of errors. Each class says how it looks on the wire and whether trying again helps."""

from typing import ClassVar


class AntiphonError(Exception):
    """Something a person can act on. The message is for that person; it never holds speech or keys."""

    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"
    http_status: ClassVar[int] = 500
    #: The WebSocket is closed with this code; None: the session lives on.
    close_code: ClassVar[int | None] = None
    retryable: ClassVar[bool] = False


class ConfigError(AntiphonError):
    """A setting, profile or voices file the operator must mend."""

    code = "config_error"


class EngineMissing(ConfigError):
    """An engine's package or weights are not installed."""

    code = "engine_missing"


class DownloadFailed(AntiphonError):
    """Weights did not arrive, or are not those that were meant."""

    code = "download_failed"
    retryable = True


class DeviceLost(AntiphonError):
    """The device under an engine is gone or out of memory for good: its worker gives everything back and ends."""

    code = "device_lost"
    retryable = True


class ClientError(AntiphonError):
    """The client sent something that does not fit; `param` names the field."""

    code = "invalid_event"
    type = "invalid_request_error"
    http_status = 400

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.wire_code = code or self.code
        self.param = param
        self.event_id: str | None = None
        """The client's own id of the event that did not fit, where it gave one."""


class BadVoiceSample(ClientError):
    """A voice cannot be cloned from this recording; the message says what to do better."""

    code = "voice_sample_unusable"


class PromptTooLong(ClientError):
    """What was said does not fit into the model's context."""

    code = "context_length_exceeded"


class NotFound(ClientError):
    """Nothing of this name is there, or nothing of the caller's."""

    code = "not_found"
    http_status = 404


class MessageTooBig(ClientError):
    """A WebSocket message over the limit."""

    code = "message_too_big"
    close_code = 1009


class SessionTaken(AntiphonError):
    """Another web process owns this session now."""

    code = "session_taken_over"
    close_code = 1012
    retryable = True


class SessionUnknown(ClientError):
    """A resume token that fits no session that still waits, or none at all: nobody learns which. 4404, where the
    connection stands already."""

    code = "session_unknown"
    http_status = 403
    close_code = 4404


class KeyRefused(ClientError):
    """No API key, or one that is not, or not any more, among ours. The name is OpenAI's."""

    code = "invalid_api_key"
    http_status = 401
    close_code = 1008


class NotAllowed(ClientError):
    """Somebody for whom no key would be good enough: from another machine where there are no keys, or with an ephemeral
    key elsewhere than at a conversation."""

    code = "not_allowed"
    http_status = 403
    close_code = 1008


class OriginRefused(ClientError):
    """A page of another site."""

    code = "origin_not_allowed"
    http_status = 403
    close_code = 1008


class TooMany(ClientError):
    """A limit of a key or an address; `retry_after_s` is when to try again."""

    code = "rate_limit_exceeded"
    type = "requests"
    http_status = 429
    close_code = 1013
    retryable = True

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class VersionRefused(AntiphonError):
    """Another process speaks a version of our messages that is too far from this one's."""

    code = "version_refused"
    close_code = 1011


class SessionDismissed(AntiphonError):
    """An operator ended the session. 1008: whoever gets it does not come back."""

    code = "session_dismissed"
    close_code = 1008


class StageFailed(AntiphonError):
    """A stage could not do its part of a reply."""

    code = "stage_failed"
    retryable = True


class StageWaiting(AntiphonError):
    """A stage is being restarted or is full; the turn is kept."""

    code = "stage_waiting"
    retryable = True


class Queued(StageWaiting):
    """All places are taken; the session has one in the line."""

    code = "queued"


class MemoryFull(StageWaiting):
    """Redis takes nothing more. Its message is the same for everybody."""

    code = "memory_full"
    close_code = 1013

    def __init__(self) -> None:
        super().__init__("the server's memory is full; what is said now may be lost")


class RedisAway(AntiphonError):
    """Nobody can be known, or counted, just now."""

    code = "redis_away"
    http_status = 503
    retryable = True

    def __init__(self, why: str) -> None:
        super().__init__(f"Redis does not answer: {why}; try again in a few seconds")


class UploadTooBig(ClientError):
    """A recording over the limit."""

    code = "upload_too_big"
    http_status = 413


class UploadUnreadable(ClientError):
    """A file of a kind that nobody here decodes."""

    code = "unsupported_audio"
    http_status = 415


class UploadLengthMissing(ClientError):
    """An upload that does not say how long it is."""

    code = "length_required"
    http_status = 411


class UploadSlow(ClientError):
    """An upload that did not arrive in time."""

    code = "upload_timeout"
    http_status = 408


class VoiceExpired(ConfigError):
    """The cloned voice that a reply was to have is gone."""

    code = "voice_expired"


class CloningMissing(AntiphonError):
    """Voice cloning is not installed here."""

    code = "voice_cloning_not_installed"
    http_status = 501


class CloningAway(AntiphonError):
    """Nobody can clone a voice just now."""

    code = "voice_cloning_unavailable"
    http_status = 503
    retryable = True


class DonationsOff(AntiphonError):
    """Nobody here takes voices as a gift."""

    code = "voice_donation_off"
    http_status = 501


class DonationsAway(AntiphonError):
    """A voice cannot be taken just now."""

    code = "voice_donation_unavailable"
    http_status = 503
    retryable = True


class Overloaded(AntiphonError):
    """No free slot now."""

    code = "server_full"
    http_status = 503
    close_code = 1013
    retryable = True
