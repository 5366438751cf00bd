"""All states of the page, brought about in the page itself: most a healthy server shows for moments, some never."""

from collections.abc import Sequence
from typing import Any

from playwright.sync_api import Page

#: A talk as the page has it while nothing happens.
LIVE = {
    "link": "live", "place": 0, "reason": "", "detail": "",
    "voice": False, "waiting": False, "reply": "", "sounding": False, "held": False, "closed": False,
}  # fmt: skip

#: Why it can fail: keys of strings.js.
FAILURES = (
    "micDenied", "micMissing", "micBusy", "micFailed", "insecure", "noAudio", "key_", "refused", "dismissed",
)  # fmt: skip

#: State: what is different from a quiet talk.
STATES: dict[str, dict[str, Any]] = {
    "idle": {"link": "idle"},
    "asking": {"link": "asking"},
    "connecting": {"link": "connecting"},
    "queued": {"link": "queued", "place": 3},
    "listening": {},
    "hearing": {"voice": True},
    "thinking": {"waiting": True},
    "speaking": {"reply": "r", "sounding": True},
    "muted": {"reply": "r", "sounding": True, "held": True},
    "closed": {"closed": True},
    "reconnecting": {"link": "reconnecting", "reason": "lost"},
    "ended": {"link": "idle"},
    **{f"failed {reason}": {"link": "failed", "reason": reason} for reason in FAILURES},
}

#: Before these nothing was said.
SILENT = {"idle", "asking", "connecting", "queued"}

#: Who, what, and how much of it was heard; less than all of it: more may come.
Said = tuple[str, str, float]

SAID: tuple[Said, ...] = (
    ("them", "Good evening. What is on your mind today?", 1.0),
    ("you", "I have to choose between two flats, and I keep going round in circles.", 1.0),
    (
        "them",
        "Two flats, and neither of them lets you go. What would you miss most about the one you did not take?",
        0.55,
    ),
)  # fmt: skip

SHOW = """([state, said, turns]) => {
  const { conversation } = antiphon;
  const { transcript, latency } = conversation;
  conversation.state = state;
  conversation.id = said.length ? "sess_of_a_picture" : "";
  sessionStorage.clear();
  transcript.lines = [];
  transcript.version += 1;
  for (const [at, [who, text, share]] of said.entries()) {
    const open = share < 1 && state.link === "live";
    const heard = Math.round(text.length * share);
    const end = share < 1 ? "cut" : "done";
    Object.assign(transcript.line(`said ${at}`, who), { text, heard, state: open ? "open" : end });
  }
  latency.turns = turns;
  conversation.rim.changed();
}"""

#: A voice of its own for the staff, where no sound is: as loud as speech, one syllable after the other.
FEED = """() => {
  const meter = (sings) => ({ getFloatTimeDomainData: (samples) => {
    const s = performance.now() / 1000;
    const syllable = 0.11 * Math.abs(Math.sin(s * 9) * Math.sin(s * 2.3 + 1));
    const loud = sings.includes(antiphon.conversation.phase) ? syllable : 0;
    samples.forEach((_, at) => (samples[at] = at % 2 ? loud : -loud));
  } });
  antiphon.call.microphone = { meter: meter(["hearing"]), close() {} };
  antiphon.conversation.player = {
    meter: meter(["speaking"]), last: { depth_ms: 140, target_ms: 150, underruns: 0 }, heardMs: 0,
    stop() {}, close() {},
  };
}"""


#: A turn as the page measures it.
TURN = {
    "reply": "r", "voice_end_ms": 0, "decided_ms": 500, "text_ms": 480, "asked_ms": 510, "word_ms": 680,
    "packet_ms": 760, "sound_ms": 850, "llm_ms": 170, "tts_ms": 80,
}  # fmt: skip


def show(
    page: Page, state: str, said: Sequence[Said] = SAID, turns: Sequence[dict[str, Any]] = (TURN,)
) -> None:
    """Has the page show a state, with a talk that fits."""
    silent = state in SILENT or state.startswith("failed")
    page.evaluate(SHOW, [{**LIVE, **STATES[state]}, [] if silent else said, [] if silent else turns])
    page.evaluate("() => new Promise(requestAnimationFrame)")
