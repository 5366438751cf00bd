"""What Grafana shows of Antiphon. `make monitoring` writes it to dashboards/, for Grafana to read.

python deploy/grafana/dashboards.py            writes
python deploy/grafana/dashboards.py --check    says whether what is written is what stands here
"""

import json
import sys
from pathlib import Path

from panels import Alerts, Dashboard, Panel, Query, Row, Text

FOLDER = Path(__file__).parent / "dashboards"

STAGES = {"stt": "Speech to text", "llm": "Language model", "tts": "Text to speech"}


def latency(of: str, title: str, why: str, *, width: int = 8, target: bool = True) -> Panel:
    """Percentiles of one of the latencies that recording.yml knows, against its target."""
    queries = [Query(f'antiphon:latency_seconds{{of="{of}"}}', "p {{quantile}}")]
    if target:
        queries.append(
            Query(f'antiphon:latency_target_seconds{{of="{of}"}}', "target of p 0.95", target=True)
        )
    return Panel(title, queries, why, "s", width=width)


def rate(metric: str, *by: str, where: str = "") -> str:
    """Events per second."""
    return f"sum by ({', '.join(by)}) (rate({metric}{where}[$__rate_interval]))"


def quantile(q: float, metric: str, *by: str, where: str = "") -> str:
    """A percentile of a histogram, over all processes."""
    return f"histogram_quantile({q}, {rate(f'{metric}_bucket', *by, 'le', where=where)})"


def percentiles(metric: str, where: str = "") -> list[Query]:
    """The three that are looked at everywhere."""
    return [Query(quantile(q, metric, where=where), f"p {q}") for q in (0.5, 0.95, 0.99)]


def stat(
    title: str, expr: str, why: str, unit: str = "short", limits: tuple[float, float] | None = None
) -> Panel:
    """One number."""
    return Panel(title, [Query(expr)], why, unit, "stat", width=4, height=4, limits=limits)


OVERVIEW = Dashboard(
    uid="antiphon-overview",
    title="Antiphon: overview",
    about="Is it well? Latency against targets, load, capacity, errors.",
    boxes={"flower": ("Flower", "http://localhost:5555")},
    links=[("Flower", "${flower}")],
    rows=[
        Row("Now", [
            stat("Sessions", "sum(antiphon_sessions)", "Conversations that are open."),
            stat("Voice to voice, p95", 'antiphon:latency_seconds{of="voice_to_voice", quantile="0.95"}',
                 "From the end of a voice to the answer. Target: 1.4 s.", "s", (1.1, 1.4)),
            stat("Replies that stutter", "antiphon:late_replies:ratio5m", "Audio came too late for the player.",
                 "percentunit", (0.001, 0.01)),
            stat("Errors per turn", "antiphon:errors_per_turn:ratio5m", "As told to clients.", "short", (0.01, 0.05)),
            stat("Waiting", "sum(antiphon_sessions_waiting)", "Sessions without their first slot.", limits=(1, 5)),
            stat("Refused, last hour", "sum(increase(antiphon_sessions_refused_total[1h]))",
                 "Sessions that were sent away.", limits=(1, 10)),
            Panel("p95 as part of its target",
                  [Query('antiphon:latency_seconds{quantile="0.95"}'
                         " / on (of) group_left antiphon:latency_target_seconds", "{{of}}")],
                  "Red is beyond the target.", "percentunit", "bargauge", limits=(0.8, 1), most=1.5),
            Panel("Slots in use", [Query("antiphon:slots_used:ratio", "{{stage}}")],
                  "At 100 % the next session waits.", "percentunit", "bargauge", limits=(0.75, 0.95), most=1),
            Alerts("Alerts"),
        ]),
        Row("Latency against targets", [
            latency("stt", "STT: to the first words", "Target 50 ms. docs/debugging.md: high STT latency."),
            latency("llm", "LLM: to the first word", "Target 200 ms. docs/debugging.md: LLM timeouts."),
            latency("tts", "TTS: to the first audio", "Target 450 ms. docs/debugging.md: high TTS latency."),
            latency("voice_to_voice", "Voice to voice", "What a person notices. Target 1.4 s."),
            latency("ping", "Ping to the clients", "Network and the web's own delay. Target 100 ms."),
            Panel("Audio made per second of making it, slowest of 20 replies",
                  [Query("antiphon:realtime_factor:p05_5m", "p 0.05")],
                  "Below 1 a voice must stutter.", limits=(1.5, 1)),
        ]),
        Row("Load and capacity", [
            Panel("Sessions", [Query("sum(antiphon_sessions)", "open"),
                               Query("sum(antiphon_sessions_waiting)", "waiting")], "Of all web processes."),
            Panel("Turns per second", [Query(rate("antiphon_turns_total", "outcome"), "{{outcome}}")],
                  "By how they ended.", "ops", stacked=True),
            Panel("Free slots", [Query("antiphon:slots_free", "{{stage}}")], "The lowest is what limits."),
            Panel("Workers", [Query("antiphon:workers", "{{stage}}")], "That take work."),
            Panel("Tasks that wait", [Query("max by (queue) (antiphon_queue_length)", "{{queue}}")],
                  "More than a moment's worth: workers are too few."),
            Panel("Age of the oldest task", [Query("max by (queue) (antiphon_queue_age_seconds)", "{{queue}}")],
                  "Beyond 10 s nobody takes work.", "s", limits=(3, 10)),
        ]),
        Row("Errors", [
            Panel("Errors told to clients", [Query(rate("antiphon_errors_total", "code"), "{{code}}")],
                  "docs/protocol.md has the codes.", "ops", stacked=True),
            Panel("Sessions refused", [Query(rate("antiphon_sessions_refused_total", "reason"), "{{reason}}")],
                  "docs/debugging.md: sessions refused.", "ops", stacked=True),
            Panel("Work done again", [Query(rate("antiphon_recoveries_total", "stage"), "{{stage}}")],
                  "After a worker was lost.", "ops", stacked=True),
        ]),
        Row("Where to look on", [
            Text("Guides", "* `docs/monitoring.md`: every metric, every threshold\n"
                 "* `docs/debugging.md`: from a symptom to its remedy; alerts name their chapter\n"
                 "* `docs/capacity.md`: how many replicas a load needs", width=12, height=4),
            Text("Tools", "* Flower: tasks and workers, with a password (the address is in the box above)\n"
                 "* `antiphon status` and `antiphon doctor` on a machine\n"
                 "* Prometheus itself is not published: *Explore* asks it", width=12, height=4),
        ]),
    ],
)  # fmt: skip


def first_result(stage: str) -> Panel:
    """What a stage's users wait for."""
    said = {"stt": "first words", "llm": "first word", "tts": "first audio"}[stage]
    return latency(stage, f"To the {said}", "The dashed line is the target of p 0.95.", width=6)


def queue(stage: str, name: str) -> Row:
    """The row of a stage that serves conversations."""
    here = f'{{stage="{stage}"}}'
    return Row(f"{name}: queue {stage}", [
        first_result(stage),
        Panel("Slots", [Query(f"antiphon:slots{here}", "there are"),
                        Query(f"antiphon:slots{here} - antiphon:slots_free{here}", "in use"),
                        Query(f"sum(antiphon_seats{here})", "seats, as the loops count them")],
              "In use near all there are: scale this queue.", width=6),
        Panel("Workers and tasks that wait",
              [Query(f"antiphon:workers{here}", "workers"),
               Query(f'max(antiphon_queue_length{{queue="{stage}"}})', "tasks waiting"),
               Query(f'max(antiphon_queue_age_seconds{{queue="{stage}"}})', "age of the oldest, s")],
              "A queue that grows has too few workers, or stuck ones.", width=6),
        Panel("Lost and done again",
              [Query(rate("antiphon_recoveries_total", where=here), "recoveries"),
               Query(rate("antiphon_seats_lost_total", where=here), "seats lost"),
               Query(rate("antiphon_slots_shed_total", where=here), "slots the engine gave up"),
               Query(rate("antiphon_gaps_total", where=here), "results read again")],
              "All zero on a good day.", "ops", width=6),
        *(steps(stage) if stage != "llm" else writing()),
        *([waiting_frames()] if stage == "stt" else []),
        loop_cpu(stage),
        Panel("CPU", [Query(rate("process_cpu_seconds_total", "replica", where=f'{{job="{stage}"}}'), "{{replica}}")],
              "Cores of the whole process: the engine's threads, too.", width=6),
        Panel("Memory", [Query(f'process_resident_memory_bytes{{job="{stage}"}}', "{{replica}}")],
              "Growth that does not end: drain and restart.", "bytes", width=6),
    ])  # fmt: skip


def steps(stage: str) -> list[Panel]:
    """The batched loop of STT and TTS."""
    here = f'{{stage="{stage}"}}'
    return [
        Panel("One batched step", percentiles("antiphon_step_seconds", here),
              "Must stay well below the length of a frame (80 ms or 32 ms).", "s", width=6),
        Panel("Slots in one step",
              [*(Query(quantile(q, "antiphon_step_batch", where=here), f"p {q}") for q in (0.5, 0.95)),
               Query(f"sum(rate(antiphon_step_batch_sum{here}[$__rate_interval]))"
                     f" / sum(rate(antiphon_step_batch_count{here}[$__rate_interval]))", "mean")],
              "Steps that last longer the more it is: the engine nears its limit. 1 or 2 while many talk: too many"
              " workers.", width=6),
        Panel("The loop's time",
              [Query(f"{rate('antiphon_loop_seconds_total', 'part', where=here)} / ignoring (part) group_left"
                     f" sum(rate(antiphon_loop_seconds_total{here}[$__rate_interval]))", "{{part}}")],
              "`wait` is what is free. `step` large: the engine is full; `codec` or `publish` large: the CPU is.",
              "percentunit", width=6, most=1, stacked=True),
    ]  # fmt: skip


def waiting_frames() -> Panel:
    """What all but the engine adds to STT."""
    return Panel("A frame's wait for its step", percentiles("antiphon_frame_wait_seconds"),
                 "From the web's receipt to the step. High while steps are short: Redis, or the loop is full.", "s",
                 width=6)  # fmt: skip


def loop_cpu(stage: str) -> Panel:
    """Of one thread, and the codec's beside it."""
    here = f'{{stage="{stage}"}}'
    return Panel("CPU of a loop",
                 [Query(f"{rate('antiphon_loop_cpu_seconds_total', 'part', where=here)} / ignoring (part) group_left"
                        f" count(antiphon_seats{here})", "{{part}}")],
                 "Cores, on average over the workers. Near 1 without `codec`, the thread itself is full: more workers.",
                 width=6, stacked=True)  # fmt: skip


def writing() -> list[Panel]:
    """The LLM's own."""
    return [
        Panel("Words per second of a reply", [Query(quantile(q, "antiphon_words_per_second"), f"p {q}")
                                              for q in (0.05, 0.5)],
              "Speech takes 3 in a second: below 4 the voice must wait for words.", width=6, limits=(6, 4)),
        Panel("Words of a prompt", percentiles("worker_vllm_request_length"),
              "Long prompts take long to read.", width=6),
    ]  # fmt: skip


QUEUES = Dashboard(
    uid="antiphon-queues",
    title="Antiphon: queues",
    about="A row for each queue: what its users wait for, how full it is, where its time goes.",
    boxes=OVERVIEW.boxes,
    links=OVERVIEW.links,
    rows=[
        *(queue(stage, name) for stage, name in STAGES.items()),
        Row("Cloned voices: queue voices", [
            Panel("Recordings", [Query(rate("antiphon_voices_cloned_total", "outcome"), "{{outcome}}")],
                  "By what became of them.", "ops", width=6, stacked=True),
            Panel("Workers and tasks that wait",
                  [Query('sum(up{job="voices"}) or vector(0)', "workers"),
                   Query('max(antiphon_queue_length{queue="voices"})', "recordings waiting"),
                   Query('max(antiphon_queue_age_seconds{queue="voices"})', "age of the oldest, s")],
                  "Nobody has to clone voices.", width=6),
            Panel("CPU", [Query(rate("process_cpu_seconds_total", "replica", where='{job="voices"}'), "{{replica}}")],
                  "Cores.", width=6),
            Panel("Memory", [Query('process_resident_memory_bytes{job="voices"}', "{{replica}}")], "", "bytes",
                  width=6),
        ]),
    ],
)  # fmt: skip

TURNS = Dashboard(
    uid="antiphon-turns",
    title="Antiphon: turn-taking",
    about="Does it feel like a conversation? Ends of turns, interruptions, replies made ahead, voices that stutter.",
    rows=[
        Row("From the user's voice to the answer", [
            latency("end_of_turn", "End of voice to end of turn",
                    "How long the server waits to be sure. Settings: turn.patience.", target=False),
            latency("reply", "End of turn to first audio", "LLM and TTS together.", target=False),
            latency("voice_to_voice", "End of voice to first audio", "The sum. Target 1.4 s."),
            Panel("Turns", [Query(rate("antiphon_turns_total", "outcome"), "{{outcome}}")], "By how they ended.", "ops",
                  stacked=True),
            Panel("Replies made ahead", [Query(rate("antiphon_preempted_total", "outcome"), "{{outcome}}")],
                  "Begun at a pause, before the turn had ended.", "ops", stacked=True),
            Panel("Replies made ahead that were used", [Query("antiphon:preemptive_wins:ratio15m", "used")],
                  "Below a third they cost more than they save: turn.preempt.", "percentunit", most=1),
        ]),
        Row("Interruptions", [
            latency("barge_in", "Onset of a voice to silence", "Target 450 ms."),
            Panel("Interruptions", [Query(rate("antiphon_interruptions_total", "outcome"), "{{outcome}}")],
                  "true: words followed. false: nobody, echo or noise.", "ops", stacked=True),
            Panel("Interruptions by nobody", [Query("antiphon:false_interruptions:ratio15m", "false")],
                  "docs/debugging.md: self-interruption.", "percentunit", limits=(0.3, 0.5), most=1),
            Panel("A mute for nothing", percentiles("antiphon_mute_seconds"), "How long it lasted.", "s"),
            Panel("Interrupted while", [Query(rate("worker_tts_interrupt_total"), "speaking"),
                                        Query(rate("worker_vllm_interrupt_total"), "thinking")], "", "ops"),
            Panel("Messages forgotten", [Query(rate("antiphon_history_dropped_total"), "dropped")],
                  "Long conversations, for which the prompt has no room.", "ops"),
        ]),
        Row("The voice", [
            Panel("Replies that stutter", [Query("antiphon:late_replies:ratio5m", "late")],
                  "docs/debugging.md: choppy audio.", "percentunit", limits=(0.001, 0.01)),
            Panel("How late, where it was", percentiles("antiphon_late_audio_seconds"), "", "s"),
            Panel("Realtime factor of replies", [Query(quantile(q, "antiphon_realtime_factor"), f"p {q}")
                                                 for q in (0.05, 0.5)],
                  "Seconds of audio per second of making it.", limits=(1.5, 1)),
            Panel("A word's way to its event", percentiles("antiphon_word_lag_seconds"), "From the LLM to the socket.",
                  "s"),
            Panel("Words of a reply", percentiles("worker_vllm_reply_length"), ""),
            Panel("Audio of a reply", percentiles("worker_tts_audio_duration"), "", "s"),
        ]),
    ],
)  # fmt: skip

WEB = Dashboard(
    uid="antiphon-web",
    title="Antiphon: web and Redis",
    about="The processes that clients talk to, and the two servers between them and the workers.",
    rows=[
        Row("Web", [
            Panel("Sessions of each process", [Query('antiphon_sessions{job="web"}', "{{instance}}")],
                  "One process held its targets with 208.", limits=(180, 200)),
            latency("ping", "Ping to the clients", "Network and the web's own delay. Target 100 ms."),
            Panel("Sessions begun and refused",
                  [Query(rate("worker_sessions_total"), "begun"),
                   Query(rate("antiphon_sessions_refused_total", "reason"), "refused: {{reason}}")], "", "ops"),
            Panel("Errors told to clients", [Query(rate("antiphon_errors_total", "code"), "{{code}}")], "", "ops",
                  stacked=True),
            Panel("Length of a session", percentiles("worker_session_duration"), "", "s"),
            Panel("Results read again", [Query(rate("antiphon_gaps_total", "stage"), "{{stage}}")],
                  "A message was missed; a full fan-out, or Redis' output buffer.", "ops"),
        ]),
        Row("What it costs", [
            Panel("CPU", [Query(rate("process_cpu_seconds_total", "replica", where='{job="web"}'), "{{replica}}")],
                  "Cores. A process has one: near 1 its sessions wait for each other.", limits=(0.7, 0.9)),
            Panel("Memory", [Query('process_resident_memory_bytes{job="web"}', "{{replica}}")],
                  "Grows with the sessions, and falls with them.", "bytes"),
            Panel("Open files as part of what it may have",
                  [Query('process_open_fds{job="web"} / process_max_fds{job="web"}', "{{replica}}")],
                  "A session is one. At 100 % nobody can connect: ulimit -n.", "percentunit", limits=(0.7, 0.9),
                  most=1),
        ]),
        Row("No room", [
            Panel("At the first try", [Query(rate("worker_stt_misses_total"), "stt"),
                                       Query(rate("worker_tts_misses_total"), "tts"),
                                       Query(rate("worker_service_misses_total"), "any")], "", "ops"),
            Panel("To the end", [Query(rate("worker_stt_hard_misses_total"), "stt"),
                                 Query(rate("worker_hard_tts_misses_total"), "tts"),
                                 Query(rate("worker_hard_service_misses_total"), "any"),
                                 Query(rate("worker_fatal_service_misses_total"), "sessions that could not begin")],
                  "", "ops"),
            Panel("Ended by us", [Query(rate("worker_force_disconnects_total"), "sent away"),
                                  Query(rate("worker_hard_errors_total"), "an error of ours")], "", "ops"),
        ]),
        Row("Redis", [
            Panel("Memory as part of what it may take", [Query("antiphon:redis_memory:ratio", "{{server}}")],
                  "Beyond 80 % new sessions are refused.", "percentunit", limits=(0.6, 0.8), most=1),
            Panel("Memory", [Query('max by (server) (antiphon_redis_memory_bytes{kind="used"})', "{{server}}")], "",
                  "bytes"),
            Panel("Round trip, p95",
                  [Query(quantile(0.95, "antiphon_redis_round_trip_seconds", "server"), "{{server}}"),
                   Query('antiphon:latency_target_seconds{of="redis_media"}', "target", target=True)],
                  "From the web.", "s"),
        ]),
    ],
)  # fmt: skip

MACHINES = Dashboard(
    uid="antiphon-machines",
    title="Antiphon: GPUs and machines",
    about="What the processes run on.",
    rows=[
        Row("GPUs", [
            Panel("Memory in use", [Query("antiphon:gpu_memory:ratio", "{{replica}}")],
                  "By whomever. vLLM takes its share at once.", "percentunit", limits=(0.95, 0.97), most=1),
            Panel("At work", [Query("antiphon_gpu_utilisation_ratio", "{{replica}}")],
                  "Part of the last moments. Low with all slots taken: the loop or the CPU is the limit.",
                  "percentunit", most=1),
            Panel("Memory", [Query('antiphon_gpu_memory_bytes{kind="used"}', "{{replica}}"),
                             Query('max(antiphon_gpu_memory_bytes{kind="total"})', "largest GPU", target=True)],
                  "", "bytes"),
        ]),
        Row("Containers (cAdvisor; in a swarm)", [
            Panel("CPU", [Query(rate("container_cpu_usage_seconds_total", "service"), "{{service}}")], "Cores.",
                  stacked=True),
            Panel("Memory", [Query("sum by (service) (container_memory_working_set_bytes)", "{{service}}")], "",
                  "bytes", stacked=True),
            Panel("Memory as part of its limit",
                  [Query("max by (service) (container_memory_working_set_bytes"
                         " / (container_spec_memory_limit_bytes > 0))", "{{service}}")],
                  "At 100 % the kernel ends it.", "percentunit", limits=(0.8, 0.95), most=1),
            Panel("Network, received", [Query(rate("container_network_receive_bytes_total", "service"), "{{service}}")],
                  "", "Bps"),
            Panel("Network, sent", [Query(rate("container_network_transmit_bytes_total", "service"), "{{service}}")],
                  "", "Bps"),
            Panel("CPU of each machine, in use",
                  [Query("sum by (node) (rate(container_cpu_usage_seconds_total[$__rate_interval]))"
                         " / on (node) max by (node) (machine_cpu_cores)", "{{node}}")],
                  "By containers.", "percentunit", limits=(0.8, 0.95), most=1),
        ]),
        Row("Processes", [
            Panel("Do not answer Prometheus", [Query("sum by (job) (1 - up)", "{{job}}")],
                  "docs/debugging.md: Prometheus sees nothing.", limits=(1, 1)),
            Panel("Seconds since the start",
                  [Query('time() - process_start_time_seconds{job=~"web|stt|llm|tts|voices"}', "{{replica}}")],
                  "Saw teeth: it starts again and again.", "s"),
            Panel("Clocks ahead of the media server's",
                  [Query("max by (job, instance) (antiphon_clock_ahead_seconds)", "{{job}} {{instance}}")],
                  "Below zero: behind. All of them alike: the media server's is off. docs/debugging.md: clocks.", "s",
                  signed=True),
            Panel("Processes of each version", [Query("count by (version) (antiphon_build_info)", "{{version}}")],
                  "More than one: an update is going on.", stacked=True),
        ]),
    ],
)  # fmt: skip

DASHBOARDS = {"overview": OVERVIEW, "queues": QUEUES, "turns": TURNS, "web": WEB, "machines": MACHINES}


def written() -> dict[Path, str]:
    """Each file and what it is to hold."""
    return {
        FOLDER / f"{name}.json": json.dumps(dashboard.json(), indent=1, ensure_ascii=False) + "\n"
        for name, dashboard in DASHBOARDS.items()
    }


def main(arguments: list[str]) -> int:
    """Writes or checks; the exit status."""
    if arguments == ["--check"]:
        stale = [
            path.name for path, text in written().items() if not path.exists() or path.read_text() != text
        ]
        print(f"not as described: {', '.join(stale)}; make monitoring" if stale else "as described")
        return 1 if stale else 0
    for path, text in written().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
