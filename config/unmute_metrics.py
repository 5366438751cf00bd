"""Unmute's metrics under Unmute's names, so that its dashboards show Antiphon.

Names, kinds and buckets are those of `unmute/metrics.py` (github.com/kyutai-labs/unmute). Unmute counts everything in
its backend; here each is counted where it happens, in a web process or in a worker, so that a sum over all processes
means what it means there. Durations are seconds.
"""

from prometheus_client import Counter, Gauge, Histogram, Summary

SESSION_BUCKETS_S = (1, 10, 30, 60, 120, 240, 480, 960, 1920)
TURN_BUCKETS_S = (0.5, 1, 5, 10, 20, 40, 60)
GENERATION_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20)
PING_BUCKETS_S = (0.001, 0.005, 0.010, 0.025, 0.050, 0.100, 0.200)
STT_FIRST_BUCKETS_S = (0.010, 0.015, 0.025, 0.050, 0.075, 0.100)
LLM_FIRST_BUCKETS_S = (0.050, 0.075, 0.100, 0.150, 0.200, 0.250, 0.300, 0.400, 0.500, 0.750, 1.0)
TTS_FIRST_BUCKETS_S = (0.200, 0.250, 0.300, 0.350, 0.400, 0.450, 0.500, 0.550)
REQUEST_WORDS_BUCKETS = (50, 100, 200, 500, 1000, 2000, 4000, 6000, 8000)
STT_WORDS_BUCKETS = (0, 50, 100, 200, 500, 1000, 2000, 4000)
REPLY_WORDS_BUCKETS = (5, 10, 25, 50, 100, 200)

# --- sessions, in a web process

sessions = Counter(
    "worker_sessions", "Connections of clients begun; one that resumes a session counts again."
)
active_sessions = Gauge(
    "worker_active_sessions", "Connections of clients open now.", multiprocess_mode="livesum"
)
session_duration = Histogram("worker_session_duration", "Length of a connection.", buckets=SESSION_BUCKETS_S)
service_misses = Counter("worker_service_misses", "A stage had no room in time: the client was told to wait.")
hard_service_misses = Counter(
    "worker_hard_service_misses", "A stage had no room until the client left or the reply was given up."
)
force_disconnects = Counter(
    "worker_force_disconnects", "Connections that the server ended, but for goodbyes."
)
fatal_service_misses = Counter("worker_fatal_service_misses", "Connections ended for want of a free slot.")
hard_errors = Counter("worker_hard_errors", "Connections ended by an error of ours.")
health_ok = Summary("worker_health_ok", "Answers of /v1/health: 1 where a conversation was possible, else 0.")

# --- speech to text

stt_sessions = Counter("worker_stt_sessions", "Sessions that the STT began to listen to.")
stt_active_sessions = Gauge(
    "worker_stt_active_sessions", "Sessions that the STT listens to.", multiprocess_mode="livesum"
)
stt_misses = Counter("worker_stt_misses", "No STT slot in time: the client was told to wait.")
stt_hard_misses = Counter("worker_stt_hard_misses", "No STT slot until the client left.")
stt_sent_frames = Counter("worker_stt_sent_frames", "Frames of audio given to the STT engine.")
stt_recv_frames = Counter("worker_stt_recv_frames", "Frames of audio the STT engine answered for.")
stt_recv_words = Counter("worker_stt_recv_words", "Words understood, of final transcripts.")
stt_ping_time = Histogram(
    "worker_stt_ping_time", "Round trip from the web to the Redis that carries audio.", buckets=PING_BUCKETS_S
)
stt_find_time = Histogram(
    "worker_stt_find_time", "From asking for an STT slot to hearing who has it.", buckets=PING_BUCKETS_S
)
stt_session_duration = Histogram(
    "worker_stt_session_duration", "How long the STT listened to a session.", buckets=SESSION_BUCKETS_S
)
stt_audio_duration = Histogram(
    "worker_stt_audio_duration", "Audio heard in a session.", buckets=SESSION_BUCKETS_S
)
stt_num_words = Histogram("worker_stt_num_words", "Words understood in a session.", buckets=STT_WORDS_BUCKETS)
stt_ttft = Histogram(
    "worker_stt_ttft",
    "From a session's first frame of audio at the web, or the slot's opening if later, to the engine's answer for it.",
    buckets=STT_FIRST_BUCKETS_S,
)

# --- text to speech

tts_sessions = Counter("worker_tts_sessions", "Replies that the TTS began to speak.")
tts_active_sessions = Gauge(
    "worker_tts_active_sessions", "Replies being spoken now.", multiprocess_mode="livesum"
)
tts_misses = Counter("worker_tts_misses", "No TTS slot in time: the client was told to wait.")
tts_hard_misses = Counter("worker_hard_tts_misses", "No TTS slot until the reply was given up.")
tts_interrupt = Counter("worker_tts_interrupt", "Replies interrupted while they were spoken.")
tts_sent_frames = Counter("worker_tts_sent_frames", "Messages of text given to the TTS.")
tts_recv_frames = Counter("worker_tts_recv_frames", "Frames of audio made by the TTS engine.")
tts_recv_words = Counter("worker_tts_recv_words", "Words spoken.")
tts_ping_time = Histogram(
    "worker_tts_ping_time", "Round trip from the web to the Redis that carries audio.", buckets=PING_BUCKETS_S
)
tts_find_time = Histogram(
    "worker_tts_find_time", "From asking for a TTS slot to hearing who has it.", buckets=PING_BUCKETS_S
)
tts_ttft = Histogram(
    "worker_tts_ttft", "From the first word given to the TTS to its first audio.", buckets=TTS_FIRST_BUCKETS_S
)
tts_audio_duration = Histogram("worker_tts_audio_duration", "Audio made for a reply.", buckets=TURN_BUCKETS_S)
tts_gen_duration = Histogram(
    "worker_tts_gen_duration",
    "From the first word given to the TTS to the end of the reply there.",
    buckets=GENERATION_BUCKETS_S,
)

# --- language model, whichever engine it is

vllm_sessions = Counter("worker_vllm_sessions", "Replies that the LLM began to write.")
vllm_active_sessions = Gauge(
    "worker_vllm_active_sessions", "Replies being written now.", multiprocess_mode="livesum"
)
vllm_interrupts = Counter("worker_vllm_interrupt", "Replies interrupted while they were written.")
vllm_hard_errors = Counter("worker_vllm_hard_errors", "Replies that the LLM failed to write.")
vllm_sent_words = Counter("worker_vllm_sent_words", "Words of prompts given to the LLM.")
vllm_recv_words = Counter("worker_vllm_recv_words", "Words written.")
vllm_ttft = Histogram("worker_vllm_ttft", "From the request to its first word.", buckets=LLM_FIRST_BUCKETS_S)
vllm_request_length = Histogram(
    "worker_vllm_request_length", "Words of a prompt.", buckets=REQUEST_WORDS_BUCKETS
)
vllm_reply_length = Histogram("worker_vllm_reply_length", "Words of a reply.", buckets=REPLY_WORDS_BUCKETS)
vllm_gen_duration = Histogram(
    "worker_vllm_gen_duration",
    "From the request to the end of the reply there.",
    buckets=GENERATION_BUCKETS_S,
)

voice_donation_submissions = Counter(
    "worker_voice_donation_submissions",
    "Voices that were given away and stored.",
)
