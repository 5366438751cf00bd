"""The STT loop without a server: what it hands to its engine, in which order."""

import numpy as np
import pytest
import redis

from config import redis_keys as keys
from config.messages import Audio, Clear, Commit, End, Listen, Retune, decode_in, decode_listen, encode
from gpu_workers.engine import ListenOptions, Tuning
from gpu_workers.stt.null import NullStt, Settings
from tasks import g711
from tasks.codec import PACKET_SAMPLES, decoder, encoder
from tasks.leases import Emitter, Lease
from tasks.stt_loop import MAX_HOLE_SAMPLES, Ear, SttLoop, _parsed

FRAME = 480


class Told(NullStt):
    """An engine that remembers what it was told."""

    def __init__(self, slots=1, batch=None) -> None:
        super().__init__(Settings(frame_samples=FRAME, batch=batch), slots)
        self.told: list[object] = []

    def open(self, slot, options):
        self.told.append(options)
        super().open(slot, options)

    def step(self, frames):
        self.told += ["frame"] * len(frames)
        return super().step(frames)

    def commit(self, slot, at):
        self.told.append(at)
        super().commit(slot, at)

    def retune(self, slot, tuning):
        self.told.append(tuning)


class Desk:
    """One loop, one ear; no media server is asked for anything."""

    def __init__(self, listen: Listen) -> None:
        nowhere = redis.Redis(port=1)
        self.engine = Told()
        self.loop = SttLoop(self.engine, nowhere, Emitter(nowhere, keep_items=10, ttl_s=10), slots=1)
        self.ear = Ear(Lease("stt", "sid", "me", 1, 0), 0, listen=listen)
        self.loop.begin(self.ear)

    def read(self, *entries):
        for entry in entries:
            self.hear(entry)
        while self.ear.todo:
            self.engine.step(self.loop._next_frames())
        return self.engine.told

    def hear(self, entry):
        if (known := _parsed(("1-1", encode(entry)))) is not None:
            self.loop._hear([(self.ear, [known])])


def audio(pos, frames=1):
    return Audio(pos, [np.zeros(FRAME * frames, "<i2").tobytes()], 0.0)


def test_a_session_says_how_it_wants_to_be_heard():
    assert Desk(Listen("pcm16", threshold=0.7, prefix_ms=120)).engine.told == [
        ListenOptions(0, "en", Tuning(0.7, 120))
    ]
    assert Desk(Listen("pcm16")).engine.told == [ListenOptions(0, "en", Tuning())]


def test_a_retune_acts_between_the_audio_before_and_after_it():
    told = Desk(Listen("pcm16")).read(
        audio(0, 2), Retune(960, 0.8, 50), audio(960), Commit(1440), Retune(1440)
    )
    assert told[1:] == ["frame", "frame", Tuning(0.8, 50), "frame", 1440, Tuning()]


def test_input_is_heard_at_once_from_a_server_that_came_back_empty_and_with_its_clock_behind(media, sid):
    ear, key = Ear(Lease("stt", sid, "me", 1, 0), 0, listen=Listen("pcm16")), keys.audio_in(sid)
    loop = SttLoop(Told(), media, Emitter(media, keep_items=10, ttl_s=10), slots=1)
    loop.begin(ear)

    def heard() -> int:
        for _ in range(2):  # the connection is made, and looked at; then what it has is read
            loop._hear(loop._read(0))
        return ear.heard

    media.xadd(key, {"d": encode(audio(0))}, id="9000000000000-0")
    assert heard() == FRAME
    media.delete(key)
    for pos in (0, FRAME):
        media.xadd(key, {"d": encode(audio(pos))})
    loop._reader._wire.close()
    assert heard() == 2 * FRAME
    media.xadd(key, {"d": encode(audio(2 * FRAME))})
    assert heard() == 3 * FRAME


def test_a_retune_outlives_a_session_that_slept():
    far = 10 * MAX_HOLE_SAMPLES
    told = Desk(Listen("pcm16")).read(audio(0), Retune(480, 0.8, 50), audio(far))
    assert ListenOptions(far, "en", Tuning(0.8, 50)) in told


def test_a_retune_that_waits_when_the_session_sleeps_is_not_lost():
    desk = Desk(Listen("pcm16"))
    for entry in (audio(0), Retune(480, 0.8, 50), audio(10 * MAX_HOLE_SAMPLES)):
        desk.hear(entry)
    assert desk.engine.told[-1] == ListenOptions(10 * MAX_HOLE_SAMPLES, "en", Tuning(0.8, 50))


def test_a_commit_that_a_sleep_made_void_is_not_taken_for_the_next():
    desk, far = Desk(Listen("pcm16")), 10 * MAX_HOLE_SAMPLES
    desk.read(audio(0, 2), Commit(960))
    desk.read(audio(far), Commit(far + FRAME))
    assert list(desk.ear.closing) == [far + FRAME]


def test_a_successor_hears_with_what_was_asked_for_before_it_resumes():
    desk = Desk(Listen("pcm16"))
    desk.ear.resume_at = desk.ear.heard = 960
    assert desk.read(Retune(480, 0.8, 50), audio(480, 2))[1:] == [Tuning(0.8, 50), "frame"]


@pytest.mark.parametrize(
    "entry",
    [
        Retune(0, 1.0),
        Retune(0, 0.0),
        Retune(0, float("nan")),
        Retune(0, None, -1),
        Retune(0, None, 3_600_000),
    ],
)
def test_a_retune_out_of_range_costs_itself_alone(entry):
    assert Desk(Listen("pcm16")).read(entry, audio(0))[1:] == ["frame"]


def test_entries_survive_the_wire():
    for entry in (Retune(5, 0.4, 10), Retune(5), Commit(3), Clear(4), Audio(7, [b"x"], 1.5, "pcmu")):
        assert decode_in(encode(entry)) == entry
    listen = Listen("opus", "en", 0.4, 10)
    assert decode_listen(encode(listen)) == listen
    assert decode_listen(encode(("listen", "pcm16", "en"))) == Listen("pcm16")
    assert decode_in(encode(("audio", 7, [b"x"], 1.5))) == Audio(7, [b"x"], 1.5), "as version 1 writes it"


def heard(desk):
    return np.concatenate([item[0] for item in desk.ear.todo])


def test_a_client_that_changes_its_format_is_heard_on():
    desk, byte = Desk(Listen("pcm16")), g711.compress(np.full(1, 16_000, np.int16), "pcma")
    desk.hear(audio(0))
    desk.hear(Audio(FRAME, [byte * (FRAME // 3), byte * (FRAME // 3)], 0.0, "pcma"))
    desk.hear(Audio(3 * FRAME, [np.full(FRAME, 8_000, "<i2").tobytes()], 0.0, "pcm16"))
    pcm = heard(desk)
    assert len(pcm) == 4 * FRAME
    assert pcm[2 * FRAME] == pytest.approx(0.49, abs=0.01)
    assert pcm[3 * FRAME] == pytest.approx(8_000 / 32_768)


def test_what_is_added_again_after_a_loss_is_heard_once_and_in_its_own_format():
    """The web repeats its newest input, from before and after a change of format."""
    sent = [
        *(Audio(at, [bytes([at % 251]) * 160], 0.0, "pcmu") for at in range(0, 4 * FRAME, FRAME)),
        *(Audio(at, [bytes(2 * FRAME)], 0.0, "pcm16") for at in range(4 * FRAME, 6 * FRAME, FRAME)),
    ]
    lossy, steady = Desk(Listen("pcm16")), Desk(Listen("pcm16"))
    for entry in [*sent[:5], *sent[1:]]:
        lossy.hear(entry)
    for entry in sent:
        steady.hear(entry)
    assert np.array_equal(heard(lossy), heard(steady))


def test_appends_of_any_length_keep_their_places():
    desk, at = Desk(Listen("pcmu")), 0
    for size in (1, 7, 160, 33, 479, 1, 160):
        desk.hear(Audio(at, [bytes(size)], 0.0, "pcmu"))
        at += 3 * size
    assert desk.ear.heard == at
    assert len(heard(desk)) == at // FRAME * FRAME


def room(slots, batch):
    """A loop with many ears; no server is asked for anything."""
    nowhere = redis.Redis(port=1)
    loop = SttLoop(Told(slots, batch), nowhere, Emitter(nowhere, keep_items=10, ttl_s=10), slots)
    ears = [
        Ear(Lease("stt", f"sid{slot}", "me", 1, 0), slot, listen=Listen("pcm16")) for slot in range(slots)
    ]
    for ear in ears:
        loop.seats[ear.sid, 0] = ear
        loop.begin(ear)
    return loop, ears


def test_no_step_takes_more_than_a_batch_and_who_waited_longest_goes_first():
    loop, ears = room(slots=5, batch=2)
    for ear in reversed(ears):
        loop._hear([(ear, [audio(0)])])
    steps = [list(loop._next_frames()) for _ in range(3)]
    assert steps == [[4, 3], [2, 1], [0]]


def test_a_command_does_not_wait_for_a_place():
    loop, ears = room(slots=2, batch=1)
    loop._hear([(ears[0], [audio(0)])])
    loop._hear([(ears[1], [Commit(5)])])
    assert list(loop._next_frames()) == [0]
    assert loop._engine.told[-1] == 5


def test_a_backlog_does_not_keep_a_live_session_waiting():
    loop, ears = room(slots=2, batch=1)
    loop._hear([(ears[0], [audio(0, frames=50)])])
    for _ in range(3):
        loop._next_frames()
    loop._hear([(ears[1], [audio(0)])])
    assert 1 in [slot for _ in range(2) for slot in loop._next_frames()]


def test_one_turn_steps_all_that_waits_and_forgets_who_is_done():
    loop, ears = room(slots=3, batch=2)
    loop._hear([(ear, [audio(0, frames=2)]) for ear in ears])
    loop._step_all(until=1e12)
    assert loop._engine.told.count("frame") == 6
    assert not loop._busy


def test_a_session_that_ended_leaves_after_its_last_frame():
    loop, ears = room(slots=1, batch=1)
    loop._hear([(ears[0], [audio(0, frames=2), End()])])
    loop._step_all(until=0.0)
    assert not ears[0].over.is_set(), "a frame is left"
    loop._step_all(until=0.0)
    assert ears[0].over.is_set()
    assert ears[0].done


def test_opus_of_many_sessions_is_decoded_in_order_on_several_threads():
    loop, ears = room(slots=40, batch=40)
    encoded = []
    for slot, ear in enumerate(ears):
        ear.decoder = decoder("opus")
        tone = np.full(4 * PACKET_SAMPLES, 0.02 * slot, np.float32)
        encoded.append(
            [
                Audio(at * PACKET_SAMPLES, [packet], 0.0)
                for at, packet in enumerate(encoder("opus").encode(tone))
            ]
        )
    loop._hear(list(zip(ears, encoded, strict=True)))
    for slot, ear in enumerate(ears):
        alone = decoder("opus")
        wanted = np.concatenate([alone.decode(packet) for entry in encoded[slot] for packet in entry.packets])
        heard = np.concatenate([item[0] for item in ear.todo])
        assert np.array_equal(heard, wanted[: len(heard)]), f"slot {slot}"
