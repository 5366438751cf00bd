"""When time alone changes something in a turn. Pure."""

from web.rules import Rules
from web.turn_state import Phase, Turn


def next_tick(turn: Turn, rules: Rules) -> int | None:
    """The session sample at which a Tick changes something; None: never."""
    if turn.phase is Phase.HEARING:
        return turn.voice_from + rules.longest_turn if turn.voice or turn.ends_at is None else turn.ends_at
    if turn.muted:
        return (
            rules.believed_at(turn.voice_from, turn.text_to)
            if turn.voice
            else turn.voice_to + rules.resume_silence
        )
    if turn.phase is Phase.LISTENING and rules.user_silence and turn.reply:
        return turn.quiet_since + rules.user_silence
    return None
