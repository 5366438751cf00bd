/**
 * A conversation: what the server says becomes the state, the transcript, the times and what is heard. It decides
 * nothing about turns, for the server does; and it touches no element of the page.
 */

import { cutPackets, fromBase64, toBase64 } from "./audio_bytes.js";
import { Latency } from "./latency.js";
import * as reading from "./reading.js";
import { advance, BEGINNING, phaseOf, underWay } from "./session_state.js";
import { Transcript } from "./transcript.js";
import { Typed } from "./typed.js";

/**
 * @typedef {import("./session_state.js").Happening} Happening
 * @typedef {import("./wire.js").ServerEvent} ServerEvent
 * @typedef {import("./playback.js").Player} Player
 *
 * @typedef {object} Rim
 * @property {(event: object) => boolean} send
 * @property {(event: object) => boolean} sendAudio
 * @property {() => void} changed
 * @property {(message: string) => void} complain the server's words about something that went wrong
 */

/** Of the server's words about an error: people are shown no more. */
const MOST_COMPLAINT = 500;

/** A packet's length. */
const PACKET_MS = 20;

export class Conversation {
  /** @param {Rim} rim */
  constructor(rim) {
    this.rim = rim;
    /** @type {Readonly<import("./session_state.js").State>} */
    this.state = BEGINNING;
    this.transcript = new Transcript();
    this.latency = new Latency();
    /** @type {Player|null} */
    this.player = null;
    this.opus = false;
    /** The server's name for it; empty: never was one. */
    this.id = "";
    /** Whose message the reply under way is. */
    this.item = "";
    /** Some of its sound came over this connection. */
    this.began = false;
    this.sent_ms = NaN;
    this.greets = false;
    this.typed = new Typed(rim.send);
    /** What waited for this connection left. */
    this.told = false;
  }

  get phase() {
    return phaseOf(this.state);
  }

  /** @param {Happening} happening */
  happen(happening) {
    const before = this.state;
    this.state = advance(before, happening);
    if (this.state !== before) this.rim.changed();
  }

  // --- what the user does

  /** @param {Uint8Array} packet @param {number} [age_ms] since it was captured */
  hear(packet, age_ms = NaN) {
    if (this.state.link !== "live") return;
    if (!this.rim.sendAudio({ type: "input_audio_buffer.append", audio: toBase64(packet) })) return;
    this.sent_ms += PACKET_MS;
    this.latency.outward.add(age_ms);
  }

  /** @param {string} text @returns {boolean} whether it is taken: it leaves as soon as there is a connection */
  type(text) {
    const id = underWay(this.state) ? this.typed.add(text) : "";
    if (!id) return false;
    this.transcript.guess(id, text);
    this.rim.changed();
    if (this.state.link !== "live") return true;
    this.interrupt();
    this.typed.tell(id);
    return true;
  }

  /** What is answered at once and changes nothing: to know that somebody is there. */
  question() {
    const known = this.transcript.lines.findLast((line) => line.who !== "note" && line.state === "done");
    return known ? { type: "conversation.item.retrieve", item_id: known.id } : { type: "session.update", session: { type: "realtime" } };
  }

  /** The assistant shall stop. Where it was heard, the server learns how far. */
  interrupt() {
    const { reply, sounding } = this.state;
    if (!reply && !sounding) return;
    const heard = this.player?.heardMs ?? 0;
    this.player?.stop();
    if (!reply) this.transcript.cutShort(this.item, heard); // all of it had come, and was still to be heard
    if (this.item && sounding) {
      this.rim.send({ type: "conversation.item.truncate", item_id: this.item, content_index: 0, audio_end_ms: heard });
    } else this.rim.send({ type: "response.cancel" });
  }

  /** Push to talk: what is said from here on counts. */
  press() {
    this.interrupt();
    this.rim.send({ type: "input_audio_buffer.clear" });
    this.happen({ type: "voice_began" });
  }

  /** Push to talk: that was it. */
  letGo() {
    if (!this.state.voice) return;
    this.rim.send({ type: "input_audio_buffer.commit" });
    this.rim.send({ type: "response.create" });
    this.happen({ type: "voice_ended" });
    this.latency.turnEnded(performance.now(), performance.now());
  }

  // --- what the server says

  /** A connection stands. @param {boolean} resumed @param {any} session */
  connected(resumed, session) {
    this.id = typeof session?.id === "string" ? session.id : "";
    this.sent_ms = resumed ? NaN : 0;
    this.greets = !resumed;
    this.told = false;
    this.item = "";
    if (!resumed) this.closeLines();
    this.player?.begin();
    this.happen({ type: "connected" });
  }

  /** @param {ServerEvent} event */
  take(event) {
    try {
      if (Object.hasOwn(this.handlers, event.type)) this.handlers[event.type](event);
    } catch (error) {
      console.warn(`antiphon: ${event.type} could not be understood`, error); // of a server of another version
    }
    this.rim.changed();
  }

  /** Nothing more comes of what is under way. */
  closeLines() {
    for (const line of this.transcript.lines.filter((one) => one.state === "open" && !this.typed.texts.has(one.id))) {
      this.transcript.ended(line.id, true);
    }
  }

  /** @type {Record<string, (event: ServerEvent) => void>} */
  handlers = {
    "session.updated": () => this.served(),
    "antiphon.queued": (event) => this.happen({ type: "queued", place: reading.place(event.place) }),
    "input_audio_buffer.speech_started": (event) => {
      this.transcript.line(reading.id(event.item_id), "you");
      if (!this.state.reply) this.player?.stop(); // the end of a reply that the server takes for heard
      this.happen({ type: "voice_began" });
    },
    "input_audio_buffer.speech_stopped": (event) => {
      const now = performance.now();
      this.happen({ type: "voice_ended" });
      this.latency.turnEnded(now - (this.sent_ms - reading.ms(event.audio_end_ms)), now);
    },
    "antiphon.input_audio_transcription.partial": (event) => this.transcript.guess(reading.id(event.item_id), reading.text(event.text)),
    "conversation.item.input_audio_transcription.completed": (event) => this.understood(reading.id(event.item_id), reading.text(event.transcript)),
    "conversation.item.input_audio_transcription.failed": (event) => this.understood(reading.id(event.item_id), ""),
    "conversation.item.added": (event) => this.added(event.item),
    "response.created": (event) => this.replyBegan(reading.id(event.response.id)),
    "response.output_item.added": (event) => this.replyItem(event.item),
    "response.output_audio_transcript.delta": (event) => this.replySays(event),
    "response.output_text.delta": (event) => this.replySays(event),
    "response.output_audio.delta": (event) => this.replySounds(event),
    "response.output_audio.done": () => void this.player?.end(),
    "response.done": (event) => this.replyEnded(event.response),
    "antiphon.output.muted": () => {
      this.player?.hold();
      this.happen({ type: "held" });
    },
    "antiphon.output.resumed": (event) => {
      this.player?.release(reading.ms(event.audio_end_ms));
      this.happen({ type: "released" });
    },
    error: (event) => this.complained(event.error),
  };

  served() {
    this.happen({ type: "served" });
    if (this.state.link !== "live" || this.told) return;
    this.told = true;
    if (this.greets && !this.typed.texts.size) this.rim.send({ type: "response.create" });
    this.typed.tellAll();
  }

  /** @param {any} error */
  complained(error) {
    const typed = this.typed.complained(error);
    if (typed === "refused") this.transcript.ended(error.event_id, true);
    if (typed === "later") this.interrupt();
    if (reading.HARMLESS.has(error.code)) return;
    this.happen({ type: "nothing_said" }); // whatever was waited for may not come
    this.rim.complain(reading.text(error.message).slice(0, MOST_COMPLAINT));
  }

  /** @param {string} id @param {string} text */
  understood(id, text) {
    this.transcript.understood(id, text);
    this.latency.mark("text_ms", performance.now());
    if (!text.trim()) this.happen({ type: "nothing_said" });
  }

  /** What was typed comes back as an item. @param {any} item */
  added(item) {
    if (item.role !== "user") return;
    const typed = reading.list(item.content).find((part) => part?.type === "input_text");
    if (!typed) return;
    this.transcript.understood(reading.id(item.id), reading.text(typed.text));
    this.typed.arrived(item.id);
  }

  /** @param {string} id */
  replyBegan(id) {
    if (this.item && this.state.reply !== id) this.transcript.ended(this.item, true); // its end never came
    this.item = "";
    this.began = false;
    this.player?.begin();
    this.latency.asked(id, performance.now());
    this.happen({ type: "reply_began", id });
  }

  /** @param {any} item */
  replyItem(item) {
    if (item.type !== "message") return;
    this.item = reading.id(item.id);
    this.transcript.line(this.item, "them");
    this.transcript.saysAnew(this.item);
  }

  /** @param {ServerEvent} event */
  replySays(event) {
    const [id, delta] = [reading.id(event.item_id), reading.text(event.delta)];
    this.latency.mark("word_ms", performance.now());
    this.transcript.says(id, delta);
    if (!this.player) this.transcript.heardTo(id, Infinity);
  }

  /** @param {ServerEvent} event */
  replySounds(event) {
    const { packets, start_ms = 0, words } = event.antiphon ?? {};
    const bytes = fromBase64(reading.text(event.delta));
    const pieces = packets === undefined ? [bytes] : cutPackets(bytes, reading.list(packets));
    if (reading.ms(start_ms) > 0 && !this.began) this.player?.release(start_ms); // another connection began it
    this.began = true;
    this.latency.mark("packet_ms", performance.now());
    this.player?.push(pieces, reading.msOrNaN(event.antiphon?.start_ms));
    if (words) this.transcript.sounds(reading.id(event.item_id), reading.list(words));
  }

  /** @param {any} response */
  replyEnded(response) {
    const { status, status_details, antiphon } = response;
    const id = reading.id(response.id);
    this.latency.told(id, reading.msOrNaN(antiphon?.llm_first_token_ms), reading.msOrNaN(antiphon?.tts_first_audio_ms));
    if (id !== this.state.reply) return;
    const heard = this.player?.heardMs ?? 0;
    const sounded = this.state.sounding;
    if (status !== "completed") this.player?.stop();
    if (this.item) {
      this.transcript.heardTo(this.item, heard);
      this.transcript.ended(this.item, status !== "completed", typeof antiphon?.heard === "string" ? antiphon.heard : undefined);
      if (status === "cancelled" && status_details?.reason === "turn_detected") {
        if (sounded) this.rim.send({ type: "conversation.item.truncate", item_id: this.item, content_index: 0, audio_end_ms: heard });
        else if (this.player) this.transcript.remove(this.item); // the user went on speaking: nothing of it was ever heard
      }
    }
    this.happen({ type: "reply_ended", id, cut: status !== "completed" });
    this.typed.replyEnded();
  }

  // --- what the loudspeaker says

  /** @param {import("./playback.js").Report} report @param {number} heard_at_ms when its sound left the loudspeaker */
  played(report, heard_at_ms) {
    if (report.what === "sounds" && this.state.reply) {
      this.latency.mark("sound_ms", heard_at_ms);
      if (report.position < 24_000) this.latency.inward.add(heard_at_ms - this.latency.turn.packet_ms);
      this.happen({ type: "reply_sounds" });
    }
    if (report.what === "held") this.latency.mute.add(this.player?.muteMs(report) ?? NaN);
    if (report.what === "silent") this.happen({ type: "fell_silent" });
    if (this.item && this.player) this.transcript.heardTo(this.item, this.player.heardMs);
    this.rim.changed();
  }
}
