"""Ownership on a real server: plain cases, then random histories of workers that die, stall and come back.

Expiry is a deleted key: no test waits for a lease to end.
"""

from collections import defaultdict

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from config import redis_keys as keys
from config.messages import Failed, Result, VoiceStarted, decode_result
from config.versions import VERSION
from tasks.leases import SCRIPTS, Emitter, Lease, Leases, Refusal, Standing, Stored, parse_holder
from tasks.outbox import Outbox
from tasks.seat import Seat

#: No lease ends by itself while a test runs.
LONG_MS = 600_000
TTL_S = 600


class Desk:
    """One session, and the words the cases are written in."""

    def __init__(self, state: redis.Redis, media: redis.Redis, sid: str) -> None:
        self.sid = sid
        self.state = state
        self.media = media
        self.leases = Leases(state, LONG_MS)
        self.emitter = Emitter(media, keep_items=4000, ttl_s=TTL_S)
        self.leases.create(sid, {keys.REPLY: 1}, TTL_S)

    def claim(self, stage: str, owner: str, reply: int = 0, seize: bool = False) -> Lease | Refusal:
        return self.leases.claim(stage, self.sid, owner, reply, seize=seize)

    def own(self, stage: str, owner: str, reply: int = 0, seize: bool = False) -> Lease:
        lease = self.claim(stage, owner, reply, seize)
        assert isinstance(lease, Lease)
        return lease

    def renew(self, lease: Lease) -> Standing:
        return self.leases.renew([lease])[0]

    def expire(self, stage: str) -> None:
        self.state.delete(keys.lease(stage, self.sid))

    def holder(self, stage: str) -> str | None:
        holder = self.leases.holders([(stage, self.sid)])[0]
        return holder.owner if holder else None

    def emit(self, lease: Lease, *seqs: int) -> list[Stored]:
        return self.emitter.emit([(lease, message(lease, seq)) for seq in seqs])

    def stored(self, lease: Lease) -> list[tuple[int, int]]:
        return stored(self.media, keys.replay(lease.stage, self.sid, lease.reply))

    def set(self, **fields: str | int) -> None:
        self.state.hset(keys.session(self.sid), mapping=fields)

    def field(self, name: str) -> bytes | None:
        return self.leases.read(self.sid, [name])[0]


def message(lease: Lease, seq: int) -> Result:
    body = Failed("test", lease.owner)
    return Result(VERSION, lease.stage, lease.epoch, lease.reply, seq, 0, body)


def stored(media: redis.Redis, stream: str) -> list[tuple[int, int]]:
    """(epoch, seq) of what a stream holds, by the ids; the messages must say the same."""
    found = []
    for entry_id, fields in media.xrange(stream):
        epoch, seq = (int(part) for part in entry_id.split(b"-"))
        result = decode_result(fields[b"d"])
        assert (result.epoch, result.seq) == (epoch, seq)
        found.append((epoch, seq))
    return found


def published(listener: redis.client.PubSub) -> list[Result]:
    """Everything published so far: a ping's answer stands behind it on the same connection."""
    listener.ping()
    results = []
    while (item := listener.get_message(timeout=20)) is not None and item["type"] != "pong":
        if item["type"] == "message":
            results.append(decode_result(item["data"]))
    return results


@pytest.fixture
def desk(state: redis.Redis, media: redis.Redis, sid: str) -> Desk:
    return Desk(state, media, sid)


# --- claim


def closed(desk: Desk) -> None:
    desk.set(closed=1)


def vanished(desk: Desk) -> None:
    desk.state.delete(keys.session(desk.sid))


def moved_on(desk: Desk) -> None:
    desk.set(reply=2)


def called_off(desk: Desk) -> None:
    desk.set(**{keys.done("llm"): 1})


def held(desk: Desk) -> None:
    desk.own("llm", "other", 1)


def done(desk: Desk) -> None:
    desk.leases.let_go(desk.own("llm", "other", 1), done=True)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param(closed, Refusal.CLOSED, id="a closed session is not claimed"),
        pytest.param(vanished, Refusal.CLOSED, id="a session that is gone is not claimed"),
        pytest.param(moved_on, Refusal.STALE, id="an old reply is not claimed"),
        pytest.param(done, Refusal.DONE, id="a reply that is done is not done again"),
        pytest.param(held, Refusal.HELD, id="a reply somebody works on is not claimed"),
    ],
)
def test_claim_is_refused(desk, before, expected):
    before(desk)
    epoch = desk.field("epoch:llm")
    assert desk.claim("llm", "me", 1) is expected
    assert desk.field("epoch:llm") == epoch, "a refusal costs no epoch"


def test_a_session_lives_as_long_as_its_web_process_says_that_it_is_there(desk: Desk) -> None:
    lease = desk.own("web", "w")
    assert desk.leases.renew([lease], 30) == [Standing.MINE]
    assert 0 < desk.state.ttl(keys.session(desk.sid)) <= 30
    desk.leases.renew([desk.own("stt", "s")])
    assert desk.state.ttl(keys.session(desk.sid)) <= 30, "workers leave that to the web"
    desk.own("web", "later", seize=True)
    assert desk.leases.renew([lease], 300) == [Standing.LOST]
    assert desk.state.ttl(keys.session(desk.sid)) <= 30, "who was displaced keeps nothing"


def test_a_listening_session_is_claimed_once(desk):
    assert desk.own("stt", "one").epoch == 1
    assert desk.claim("stt", "two") is Refusal.HELD


def test_a_newer_reply_displaces_the_lease_of_an_older_one(desk):
    old = desk.own("llm", "slow", 1)
    moved_on(desk)
    new = desk.own("llm", "next", 2)
    assert new.epoch > old.epoch
    assert desk.renew(old) is Standing.LOST
    assert desk.holder("llm") == "next"


def test_a_client_that_came_back_seizes_its_session(desk):
    old = desk.own("web", "first")
    assert desk.claim("web", "second") is Refusal.HELD
    new = desk.own("web", "second", seize=True)
    assert (desk.renew(old), desk.renew(new)) == (Standing.LOST, Standing.MINE)


def test_nobody_seizes_what_is_closed_or_done(desk):
    done(desk)
    assert desk.claim("llm", "me", 1, seize=True) is Refusal.DONE
    closed(desk)
    assert desk.claim("web", "me", seize=True) is Refusal.CLOSED


# --- renew and let go


def test_renew_writes_how_far_the_owner_is(desk):
    lease = desk.own("tts", "me", 1)
    lease.last_seq = 12
    desk.renew(lease)
    holder = desk.leases.holders([("tts", desk.sid), ("stt", desk.sid)])
    assert holder[0] is not None and holder[0].last_seq == 12 and holder[0].reply == 1
    assert holder[1] is None


def test_renew_says_when_no_web_process_holds_the_session(desk):
    lease = desk.own("stt", "me")
    assert desk.renew(lease) is Standing.ORPHANED
    desk.own("web", "web")
    assert desk.renew(lease) is Standing.MINE


def test_renew_gives_back_a_lease_that_vanished_while_nobody_claimed(desk):
    lease = desk.own("stt", "me")
    desk.expire("stt")
    assert desk.renew(lease) is not Standing.LOST
    assert desk.holder("stt") == "me"


def test_renew_loses_once_another_claimed(desk):
    lease = desk.own("stt", "me")
    desk.expire("stt")
    desk.own("stt", "other")
    assert desk.renew(lease) is Standing.LOST
    desk.expire("stt")
    assert desk.renew(lease) is Standing.LOST, "its epoch is over, lease or no lease"
    assert desk.holder("stt") is None


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(closed, id="the session was closed"),
        pytest.param(moved_on, id="another reply began"),
        pytest.param(called_off, id="the reply was cancelled, and the worker not told"),
    ],
)
def test_renew_ends_work_that_nobody_wants(desk, before):
    lease = desk.own("llm", "me", 1)
    before(desk)
    assert desk.renew(lease) is Standing.LOST
    assert desk.holder("llm") is None


def test_what_was_let_go_is_free_at_once(desk):
    desk.leases.let_go(desk.own("llm", "me", 1), done=False)
    assert desk.own("llm", "other", 1).epoch == 2


@pytest.mark.parametrize("done", [True, False])
def test_a_renewal_that_comes_late_gives_back_nothing_that_was_let_go(desk, done):
    lease = desk.own("llm", "me", 1)
    desk.leases.let_go(lease, done=done)
    assert desk.renew(lease) is Standing.LOST
    assert desk.holder("llm") is None


def test_an_owner_that_lost_its_lease_still_marks_its_work_done_if_nobody_claimed(desk):
    lease = desk.own("llm", "me", 1)
    desk.expire("llm")
    desk.leases.let_go(lease, done=True)
    assert desk.claim("llm", "other", 1) is Refusal.DONE


def test_a_displaced_owner_neither_marks_done_nor_ends_its_successors_lease(desk):
    old = desk.own("llm", "me", 1)
    desk.expire("llm")
    desk.own("llm", "other", 1)
    desk.leases.let_go(old, done=True)
    assert desk.holder("llm") == "other"
    assert desk.field("done:llm") is None


def test_a_lease_is_parsed_or_absent():
    assert parse_holder(None) is None
    holder = parse_holder(b"me|3||7")
    assert holder is not None and (holder.owner, holder.epoch, holder.reply, holder.last_seq) == (
        "me",
        3,
        0,
        7,
    )


# --- emit


def test_an_older_epoch_is_refused_once_a_newer_one_spoke(desk):
    old = desk.own("stt", "old")
    desk.expire("stt")
    new = desk.own("stt", "new")
    assert desk.emit(old, 1) == [Stored.NEW], "the successor has said nothing yet"
    assert desk.emit(new, 1) == [Stored.NEW]
    assert desk.emit(old, 2, 1) == [Stored.FENCED, Stored.FENCED]
    assert desk.stored(new) == [(1, 1), (2, 1)]


def test_what_is_sent_again_is_stored_and_published_once(desk):
    lease = desk.own("stt", "me")
    with desk.media.pubsub() as listener:
        listener.subscribe(keys.results(desk.sid))
        assert desk.emit(lease, 1, 2) == [Stored.NEW, Stored.NEW]
        assert desk.emit(lease, 1, 2, 3) == [Stored.ALREADY, Stored.ALREADY, Stored.NEW]
        assert [result.seq for result in published(listener)] == [1, 2, 3]
    assert desk.stored(lease) == [(1, 1), (1, 2), (1, 3)]


def test_the_web_may_trim_what_it_applied(desk):
    lease = desk.own("stt", "me")
    desk.emit(lease, 1, 2)
    desk.media.xtrim(keys.replay("stt", desk.sid, 0), maxlen=0, approximate=False)
    assert desk.emit(lease, 2, 3) == [Stored.ALREADY, Stored.NEW]


def test_a_hole_is_an_error_and_is_not_stored(desk):
    lease = desk.own("stt", "me")
    desk.emit(lease, 1)
    with pytest.raises(redis.ResponseError, match="HOLE"):
        desk.emit(lease, 3)
    assert desk.emit(lease, 1, 2, 3) == [Stored.ALREADY, Stored.NEW, Stored.NEW]


def test_an_owner_goes_on_where_it_was_after_the_media_server_lost_everything(desk):
    lease = desk.own("stt", "me")
    desk.emit(lease, 1, 2)
    desk.media.delete(keys.replay("stt", desk.sid, 0))
    assert desk.emit(lease, 3) == [Stored.FORGOTTEN]
    again = [(lease, message(lease, seq)) for seq in (2, 3)]
    assert desk.emitter.emit(again, begins=[0]) == [Stored.NEW, Stored.NEW]
    assert desk.emit(lease, 4) == [Stored.NEW]


def test_what_the_media_server_lost_is_sent_again_before_what_follows(desk):
    seat = Seat(desk.own("stt", "me"), slot=0)
    outbox = Outbox(desk.emitter)
    for at in (1, 2):
        outbox.add(seat, VoiceStarted(at))
    outbox.flush()
    desk.media.delete(keys.replay("stt", desk.sid, 0))
    outbox.add(seat, VoiceStarted(3))
    outbox.flush()
    outbox.flush()
    stored = [decode_result(fields[b"d"]) for _, fields in desk.media.xrange(keys.replay("stt", desk.sid, 0))]
    assert [(result.seq, result.body) for result in stored] == [(at, VoiceStarted(at)) for at in (1, 2, 3)]


def test_a_successor_may_go_on_in_mid_count_after_the_media_server_lost_everything(desk):
    old, new = desk.own("stt", "old"), desk.own("stt", "new", seize=True)
    desk.emit(new, 1, 2)
    desk.media.delete(keys.replay("stt", desk.sid, 0))
    assert desk.emit(old, 1) == [Stored.NEW], "nothing is left that says it is out of date"
    assert desk.emit(new, 3) == [Stored.NEW]
    assert desk.emit(old, 2) == [Stored.FENCED]


def test_a_message_is_stored_before_it_is_published(desk):
    script = (SCRIPTS / "emit.lua").read_text()
    assert script.index("'XADD'") < script.index("'PUBLISH'")
    lease = desk.own("stt", "me")
    desk.media.set(keys.replay("stt", desk.sid, 0), "not a stream", ex=TTL_S)
    with desk.media.pubsub() as listener:
        listener.subscribe(keys.results(desk.sid))
        with pytest.raises(redis.ResponseError):
            desk.emit(lease, 1)
        assert published(listener) == [], "what could not be stored is not published"


# --- save


def test_a_web_process_that_was_displaced_saves_nothing(desk):
    old = desk.own("web", "old")
    assert desk.leases.save(old, TTL_S, {keys.STATE: "one"})
    new = desk.own("web", "new", seize=True)
    assert not desk.leases.save(old, TTL_S, {keys.STATE: "late", keys.REPLY: 9})
    assert desk.leases.save(new, TTL_S, {keys.STATE: "two"})
    assert desk.leases.read(desk.sid, [keys.STATE, keys.REPLY]) == [b"two", b"1"]


def test_saving_nothing_still_keeps_the_session_alive(desk):
    web = desk.own("web", "web")
    desk.state.expire(keys.session(desk.sid), 5)
    assert desk.leases.save(web, TTL_S, {})
    assert desk.state.ttl(keys.session(desk.sid)) > 5


def test_a_session_that_is_gone_is_not_brought_back_by_its_old_owners(desk):
    web, llm = desk.own("web", "web"), desk.own("llm", "me", 1)
    vanished(desk)
    assert not desk.leases.save(web, TTL_S, {keys.STATE: "late"})
    assert desk.renew(llm) is Standing.LOST
    desk.leases.let_go(llm, done=True)
    assert not desk.state.exists(keys.session(desk.sid))


# --- random histories

STAGES = st.sampled_from(["stt", "llm", "tts"])
ANY_STAGE = st.sampled_from(["stt", "llm", "tts", "web"])
WHICH = st.integers(0, 5)  #: how many claims ago: the last owner, or a zombie


class Histories(RuleBasedStateMachine):
    """One session among three workers and two web processes, any of which may be a zombie.

    The model is what a reader of the design would expect; every answer of the server is held against it.
    """

    state: redis.Redis
    media: redis.Redis
    new_sid = staticmethod(lambda: "")

    @initialize()
    def begin(self) -> None:
        self.desk = Desk(self.state, self.media, self.new_sid())
        self.listener = self.media.pubsub()
        self.listener.subscribe(keys.results(self.desk.sid))
        self.claims: dict[str, list[Lease]] = defaultdict(list)
        self.next_seq: dict[tuple[str, int], int] = defaultdict(lambda: 1)
        self.holder: dict[str, Lease | None] = defaultdict(lambda: None)
        self.let_go_epoch: dict[str, int] = defaultdict(int)
        self.done: dict[str, int] = defaultdict(int)
        self.streams: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.accepted: list[tuple[str, int, int]] = []
        self.saved: str | None = None
        self.reply = 1
        self.closed = False
        self.saves = 0

    def teardown(self) -> None:
        if hasattr(self, "listener"):
            heard = [(result.stage, result.epoch, result.seq) for result in published(self.listener)]
            self.listener.close()
            assert heard == self.accepted, "published is what was stored, each once, in that order"

    # what the model knows

    def latest(self, stage: str) -> Lease | None:
        return self.claims[stage][-1] if self.claims[stage] else None

    def pick(self, stage: str, ago: int) -> Lease | None:
        claims = self.claims[stage]
        return claims[-1 - ago % len(claims)] if claims else None

    def wanted(self, lease: Lease) -> bool:
        return not self.closed and lease.reply in (0, self.reply)

    def stands(self, lease: Lease) -> bool:
        """Whether a renewal of this lease must succeed."""
        let_go = self.let_go_epoch[lease.stage] == lease.epoch
        return lease is self.latest(lease.stage) and not let_go and self.wanted(lease)

    def verdict(self, stage: str, reply: int, seize: bool) -> Refusal | None:
        holder = self.holder[stage]
        if self.closed:
            return Refusal.CLOSED
        if reply and reply != self.reply:
            return Refusal.STALE
        if reply and reply == self.done[stage]:
            return Refusal.DONE
        if holder and holder.reply == reply and not seize:
            return Refusal.HELD
        return None

    # what may happen

    @rule(stage=STAGES, worker=st.sampled_from("abc"), behind=st.integers(0, 1))
    def claim_work(self, stage: str, worker: str, behind: int) -> None:
        """A task starts, perhaps one that waited in the queue until its reply was over, perhaps a copy."""
        reply = 0 if stage == "stt" else self.reply - behind
        if reply or stage == "stt":
            self.claim(stage, worker, reply, seize=False)

    @rule(name=st.sampled_from("xy"), seize=st.booleans())
    def claim_session(self, name: str, seize: bool) -> None:
        """A client comes, or comes back to another replica."""
        self.claim("web", name, 0, seize)

    def claim(self, stage: str, owner: str, reply: int, seize: bool) -> None:
        expected = self.verdict(stage, reply, seize)
        got = self.desk.claim(stage, owner, reply, seize)
        if expected is not None:
            assert got is expected
            return
        assert isinstance(got, Lease)
        assert all(got.epoch > earlier.epoch for earlier in self.claims[stage]), "epochs rise"
        self.claims[stage].append(got)
        self.holder[stage] = got

    @rule(stage=ANY_STAGE)
    def one_lease_ends(self, stage: str) -> None:
        """Its owner died or was slow; a supervisor may also have released it."""
        self.desk.expire(stage)
        self.holder[stage] = None

    @rule(stage=STAGES, worker=st.sampled_from("abc"), ago=WHICH)
    def another_goes_on(self, stage: str, worker: str, ago: int) -> None:
        """An owner dies, the watchdog sends the task again, its successor speaks, and the dead one proves alive."""
        self.one_lease_ends(stage)
        self.claim_work(stage, worker, behind=0)
        self.emit(stage, 0, fresh=1, again=0)
        self.emit(stage, ago, fresh=1, again=1)

    @rule()
    def all_leases_end(self) -> None:
        """The server stalled."""
        for stage in ("stt", "llm", "tts", "web"):
            self.one_lease_ends(stage)

    @rule(order=st.permutations(["stt", "llm", "tts", "web"]), oldest_first=st.booleans())
    def everybody_renews(self, order: list[str], oldest_first: bool) -> None:
        """All who ever owned anything try to keep it, zombies included."""
        leases = [lease for stage in order for lease in self.claims[stage][:: 1 if oldest_first else -1]]
        answers = self.desk.leases.renew(leases)
        standing = [
            lease for lease, answer in zip(leases, answers, strict=True) if answer is not Standing.LOST
        ]
        assert len({lease.stage for lease in standing}) == len(standing), "one owner a stage"
        assert {id(lease) for lease in standing} == {id(lease) for lease in leases if self.stands(lease)}
        for stage in order:
            latest = self.latest(stage)
            self.holder[stage] = latest if latest and self.stands(latest) else None

    @rule(stage=ANY_STAGE, ago=WHICH, done=st.booleans())
    def let_go(self, stage: str, ago: int, done: bool) -> None:
        """An owner finishes or hands over, perhaps after it was displaced."""
        lease = self.pick(stage, ago)
        if lease is None:
            return
        done = done and lease.reply > 0
        self.desk.leases.let_go(lease, done=done)
        if self.holder[stage] is lease:
            self.holder[stage] = None
        if lease is self.latest(stage):
            self.let_go_epoch[stage] = lease.epoch
            if done:
                self.done[stage] = lease.reply

    @rule(stage=STAGES, ago=WHICH, fresh=st.integers(0, 3), again=st.integers(0, 3))
    def emit(self, stage: str, ago: int, fresh: int, again: int) -> None:
        """An owner, or a zombie that does not know better, sends; some of it for the second time."""
        lease = self.pick(stage, ago)
        if lease is None:
            return
        stream = self.streams[keys.replay(stage, self.desk.sid, lease.reply)]
        upcoming = self.next_seq[stage, lease.epoch]
        seqs = list(range(max(1, upcoming - again), upcoming + fresh))
        answers = self.desk.emit(lease, *seqs) if seqs else []
        for seq, answer in zip(seqs, answers, strict=True):
            if stream and stream[-1][0] > lease.epoch:
                assert answer is Stored.FENCED
            elif seq < upcoming:
                assert answer is Stored.ALREADY
            else:
                assert answer is Stored.NEW
                stream.append((lease.epoch, seq))
                self.accepted.append((stage, lease.epoch, seq))
                self.next_seq[stage, lease.epoch] = seq + 1

    @rule(stage=STAGES, ago=WHICH)
    def emit_after_a_hole(self, stage: str, ago: int) -> None:
        """A message was refused (memory was full) and the one after it is sent."""
        lease = self.pick(stage, ago)
        if lease is None or self.next_seq[stage, lease.epoch] == 1:
            return
        stream = self.streams[keys.replay(stage, self.desk.sid, lease.reply)]
        seq = self.next_seq[stage, lease.epoch] + 1
        if stream[-1][0] > lease.epoch:
            assert self.desk.emit(lease, seq) == [Stored.FENCED]
            return
        with pytest.raises(redis.ResponseError, match="HOLE"):
            self.desk.emit(lease, seq)

    @rule(ago=WHICH, what=st.sampled_from(["state", "state", "cancel"]))
    def save(self, ago: int, what: str) -> None:
        """A web process writes, perhaps one whose client is elsewhere by now; a cancel moves the reply on."""
        lease = self.pick("web", ago)
        if lease is None:
            return
        self.saves += 1
        fields: dict[str, str | int] = {keys.STATE: f"{lease.epoch}:{self.saves}"}
        if what == "cancel":
            fields[keys.REPLY] = self.reply + 1
        ok = self.desk.leases.save(lease, TTL_S, fields)
        assert ok == (lease is self.latest("web")), "only the newest web process writes"
        if ok:
            self.saved = str(fields[keys.STATE])
            self.reply = int(fields.get(keys.REPLY, self.reply))

    @precondition(lambda self: len(getattr(self, "accepted", ())) > 4 and not self.closed)
    @rule()
    def close(self) -> None:
        """The session ends, once something happened in it; a client that comes back may be the one that ends it."""
        self.claim("web", "z", 0, seize=True)
        assert self.desk.leases.save(self.claims["web"][-1], TTL_S, {keys.CLOSED: 1})
        self.closed = True

    # what must always hold

    @invariant()
    def the_server_agrees(self) -> None:
        if not hasattr(self, "desk"):
            return
        stages = ("stt", "llm", "tts", "web")
        holders = self.desk.leases.holders([(stage, self.desk.sid) for stage in stages])
        for stage, holder in zip(stages, holders, strict=True):
            expected = self.holder[stage]
            assert (holder and holder.epoch) == (expected and expected.epoch)
        names = [keys.STATE, keys.REPLY, "done:llm", "done:tts"]
        saved, reply, llm, tts = self.desk.leases.read(self.desk.sid, names)
        assert (saved and saved.decode()) == self.saved
        assert int(reply or 0) == self.reply
        assert (int(llm or 0), int(tts or 0)) == (self.done["llm"], self.done["tts"])

    @invariant()
    def streams_hold_each_accepted_message_once_and_no_older_epoch_after_a_newer(self) -> None:
        for stream, expected in getattr(self, "streams", {}).items():
            held = stored(self.media, stream)
            assert held == expected
            assert held == sorted(set(held))


def test_no_history_breaks_ownership(state, media, new_sid):
    Histories.state, Histories.media = state, media
    Histories.new_sid = staticmethod(new_sid)
    run_state_machine_as_test(
        Histories, settings=settings(max_examples=250, stateful_step_count=50, deadline=None)
    )
