"""The data model in Redis. No other module spells a key.

Two servers. *State* (`redis_url`): broker, sessions, leases; append-only file. *Media* (`media_url`): audio, text
and results; never on a disk. Braces stand round the session id alone. Values are msgpack of `config.messages`.

| name                    | server | type    | writer -> reader                        | dies |
|-------------------------|--------|---------|-----------------------------------------|------|
| in:{sid}                | media  | stream  | web -> stt: audio and what keeps its place in it | with the session; trimmed to `audio_keep_s` before the open utterance |
| out:{sid}               | media  | channel | workers, operator -> the owning web process | not stored |
| replay:stt:{sid}        | media  | stream  | stt -> web that saw a gap, next stt     | trimmed to the newest applied; with the session |
| replay:tts:{sid}        | media  | stream  | tts -> web that saw a gap, next tts     | trimmed to the newest heard; with the session |
| text:{n}:{sid}          | media  | stream  | llm -> tts, web that saw a gap, next llm | when reply n is over, or with the session |
| ctl:{worker}            | media  | stream  | web, operator -> worker: cancel, played, drain | capped; `CONTROL_S` after the worker |
| sess:{sid}              | state  | hash    | web, fenced by its epoch; scripts       | `resume_s` after its web process was last there |
| lease:{stage}:{sid}     | state  | string  | `owner|epoch|reply|last_seq` of who works on it | `lease_ms` after its owner stops |
| worker:{stage}:{name}   | state  | hash    | worker -> admission, health, watchdog   | `heartbeat_ttl_s` after its last beat |
| voice:upload:{id}       | media  | string  | web -> voices: a recording, taken once   | when it is taken; 60 s |
| voice:answer:{id}       | media  | list    | voices -> web that waits for it         | when it is read; 60 s |
| voice:custom:{id}       | media  | string  | voices -> tts: a CustomVoice            | `voices.keep_s` after it was last used |
| voice:owner:{id}        | media  | string  | web: whose voice it is, if a key made it -> web that deletes it | as the voice |
| voice:customs           | media  | zset    | ids of those by when they die (unix s)  | pruned by writers |
| news:headlines:{source} | media  | string  | web: a news server's answer -> all web processes | `news.keep_s` |
| news:asked:{source}     | media  | string  | web: somebody asks that server now, or did lately in vain | `news.again_s` |
| donation:text:{id}      | media  | string  | web: what a voice donor is to read -> the web that gets the recording | `donation.read_within_s`; when it is used |
| recordings:withdrawn    | state  | zset    | web: `session/events` or `session/sound`, by when (unix s) consent to it was taken back -> all web processes | a day after the newest |
| workers:{stage}         | state  | zset    | names by last beat (unix s), web among the stages | pruned by readers |
| scale:{queue}           | state  | zset    | web: slots needed, by half minute -> `/v1/scale` of any web | pruned by each call |
| late:replies            | media  | zset    | web: replies with late audio, by unix s -> `/v1/scale` | pruned by each call |
| reserve:held            | state  | zset    | web: sessions that have a place, by deadline (ms of the server) | pruned by each call |
| reserve:line            | state  | zset    | web: sessions that wait for one, by arrival | with its deadline below |
| reserve:alive           | state  | zset    | the same sessions, by deadline          | pruned by each call |
| ephemeral:{digest}      | state  | string  | web: an ephemeral key's session -> any web | when the key expires |
| ephemeral:of:{mark}     | state  | zset    | digests and bytes of the ephemeral keys of an API key, by when they expire (ms of the server) | pruned by each call; with the last |
| quota:live:{who}        | media  | zset    | web: conversations of a key or an address, by deadline (ms of the server) | pruned by each call; soon after the last |
| quota:rate:{who}        | media  | string  | web: until when its starts, requests, wrong keys or returns are paid for (ms) | then |

Streams of results have ids `<epoch>-<seq>`, so Redis itself refuses what an older owner still sends.
"""

STAGES = ("stt", "llm", "tts")

#: The queue of voice cloning. No stage: a conversation is possible without it.
VOICES = "voices"

#: Header of a task: when it was asked for (unix time). `tasks/queues.py` reads it by this name.
ASKED = "asked_s"

#: Kombu keeps a list for each of these steps of a queue's priority, tasks without one in the first.
PRIORITY_STEPS = (0, 3, 6, 9)

#: Web processes beat like workers, under this name.
WEB = "web"

#: Everything that beats.
BEATING = (*STAGES, VOICES, WEB)

#: Of an operator's message to a session: no stage says it.
OPERATOR = "operator"

# Fields of `sess:{sid}` that scripts read; the rest is written by the web's `save`.
CLOSED = "closed"
REPLY = "reply"
STATE = "state"
LISTEN = "listen"
ORDER = "order"
DRAFT = "draft"
TOKEN = "token"
TRACE = "trace"
VERSION = "version"
SINCE = "since"
DIALECT = "dialect"
#: Number of the newest reply that is certain to be wanted: functions with effects may be called for it.
LET_OUT = "let_out"
#: Mark of the API key whose client began it; empty where there were none.
OWNER = "owner"
#: Under which name it counts in `quota:live:{who}`, over all its connections.
MEMBER = "member"


def done(stage: str) -> str:
    """Field that names the reply for which a stage has nothing more to do."""
    return f"done:{stage}"


def audio_in(sid: str) -> str:
    """Stream of the session's input."""
    return f"in:{{{sid}}}"


def results(sid: str) -> str:
    """Pub/sub channel of the session's results."""
    return f"out:{{{sid}}}"


def session_of(channel: bytes) -> str:
    """The session id between the braces of a name."""
    return channel[channel.index(b"{") + 1 : channel.index(b"}")].decode()


def replay(stage: str, sid: str, reply: int) -> str:
    """Stream that backs what `stage` publishes; the LLM's is the reply's text itself."""
    return f"text:{reply}:{{{sid}}}" if stage == "llm" else f"replay:{stage}:{{{sid}}}"


def control(worker: str) -> str:
    """Stream of commands for one worker; what is on it may be lost."""
    return f"ctl:{worker}"


def session(sid: str) -> str:
    """Hash of the session's state."""
    return f"sess:{{{sid}}}"


def lease(stage: str, sid: str) -> str:
    """Who works on this stage of the session."""
    return f"lease:{stage}:{{{sid}}}"


def worker(stage: str, name: str) -> str:
    """What a worker says of itself."""
    return f"worker:{stage}:{name}"


def workers(stage: str) -> str:
    """Names of the stage's workers by their last beat."""
    return f"workers:{stage}"


def queue_lists(queue: str) -> list[str]:
    """Lists of a Celery queue, as kombu names them."""
    return [f"{queue}\x06\x16{step}" if step else queue for step in PRIORITY_STEPS]


def scale(queue: str) -> str:
    """The most slots that a queue needed in each of the last half minutes."""
    return f"scale:{queue}"


def late_replies() -> str:
    """Replies whose audio came late, of all web processes."""
    return "late:replies"


def sessions() -> str:
    """Pattern of all sessions' hashes, for SCAN."""
    return "sess:{*}"


def reserved() -> str:
    """Sessions that have a place."""
    return "reserve:held"


def waiting() -> str:
    """Sessions that wait for one, in the order of the line."""
    return "reserve:line"


def waiting_until() -> str:
    """The same sessions by when they are forgotten, unless they ask again."""
    return "reserve:alive"


def voice_upload(upload: str) -> str:
    """A recording that waits for its encoder."""
    return f"voice:upload:{upload}"


def voice_answer(upload: str) -> str:
    """What became of it."""
    return f"voice:answer:{upload}"


def custom_voice(voice: str) -> str:
    """A cloned voice."""
    return f"voice:custom:{voice}"


def voice_owner(voice: str) -> str:
    """Who alone may delete a cloned voice."""
    return f"voice:owner:{voice}"


def custom_voices() -> str:
    """Ids of the cloned voices there are."""
    return "voice:customs"


def withdrawn() -> str:
    """Recordings whose consent was taken back."""
    return "recordings:withdrawn"


def ephemeral_key(digest: str) -> str:
    """An ephemeral key, by the hash of it."""
    return f"ephemeral:{digest}"


def ephemeral_keys(owner: str) -> str:
    """Those of one API key."""
    return f"ephemeral:of:{owner}"


def quota_live(who: str) -> str:
    """Conversations that count for a key or an address."""
    return f"quota:live:{who}"


def quota_rate(who: str) -> str:
    """How often it begins one."""
    return f"quota:rate:{who}"


def headlines(source: str) -> str:
    """What a news server answered."""
    return f"news:headlines:{source}"


def headlines_asked(source: str) -> str:
    """Somebody asks it, or did lately in vain."""
    return f"news:asked:{source}"


def donation_text(donation: str) -> str:
    """What somebody who gives their voice is to read."""
    return f"donation:text:{donation}"
