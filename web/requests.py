"""What a client's request means for the turn, as things stand. Pure."""

from config.errors import ClientError
from web.dialects.base import ClearInput, CommitInput, CreateReply, StopReply
from web.happenings import CancelAsked, ClearAsked, CommitAsked, Happening, ReplyAsked
from web.turn_state import Turn

TurnRequest = CommitInput | ClearInput | CreateReply | StopReply


def happening(
    request: TurnRequest, turn: Turn, received: int, closed_to: int = -1, *, manual: bool = False
) -> Happening:
    """`received`: session samples so far; `closed_to`: those that were committed or forgotten. manual: the client alone
    ends turns. Raises ClientError where the request means nothing now."""
    match request:
        case CommitInput() if received <= max(0, turn.taken_to, closed_to) or (turn.awaiting and not manual):
            raise ClientError("there is no audio to commit", code="input_audio_buffer_commit_empty")
        case CommitInput():
            return CommitAsked(received)
        case ClearInput():
            return ClearAsked(received)
        case CreateReply() if turn.replying or turn.reply_asked:
            code = "conversation_already_has_active_response"
            raise ClientError("a response is already active", code=code)
        case CreateReply():
            return ReplyAsked()
        case StopReply() if not turn.replying:
            raise ClientError("no response is active", code="response_cancel_not_active")
        case StopReply():
            return CancelAsked(received)
