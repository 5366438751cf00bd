/**
 * A conversation: what the server says becomes the state, the transcript, the times and what is heard. It decides
 * nothing about turns, for the server does; and it touches no element of the page.
 */

import { cutPackets, fromBase64, toBase64 } from "./audio_bytes.js";
import { Latency } from "./latency.js";
import { advance, BEGINNING, phaseOf } from "./session_state.js";
import { Transcript } from "./transcript.js";

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

/** Errors that tell the user nothing: they follow from two sides acting in the same moment. */
const HARMLESS = new Set([
  "response_cancel_not_active", "input_audio_buffer_commit_empty", "item_not_found", "conversation_already_has_active_response",
]);

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

  /** @param {string} text */
  type(text) {
    this.interrupt();
    const content = [{ type: "input_text", text }];
    this.rim.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    this.rim.send({ type: "response.create" });
  }

  /** The assistant shall stop. Where it was heard, the server learns how far. */
  interrupt() {
    if (!this.state.reply) return;
    const heard = this.player?.heardMs ?? 0;
    this.player?.stop();
    if (this.item && this.state.sounding) {
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
    this.id = String(session?.id ?? "");
    this.sent_ms = resumed ? NaN : 0;
    this.greets = !resumed;
    this.player?.begin();
    this.happen({ type: "connected" });
  }

  /** @param {ServerEvent} event */
  take(event) {
    try {
      this.handlers[event.type]?.(event);
    } catch (error) {
      console.warn(`antiphon: ${event.type} could not be understood`, error); // of a server of another version
    }
    this.rim.changed();
  }

  /** @type {Record<string, (event: ServerEvent) => void>} */
  handlers = {
    "session.updated": () => this.served(),
    "antiphon.queued": (event) => this.happen({ type: "queued", place: Number(event.place) }),
    "input_audio_buffer.speech_started": (event) => {
      this.transcript.line(event.item_id, "you");
      if (!this.state.reply) this.player?.stop(); // the end of a reply that the server takes for heard
      this.happen({ type: "voice_began" });
    },
    "input_audio_buffer.speech_stopped": (event) => {
      const now = performance.now();
      this.latency.turnEnded(now - (this.sent_ms - event.audio_end_ms), now);
      this.happen({ type: "voice_ended" });
    },
    "antiphon.input_audio_transcription.partial": (event) => this.transcript.guess(event.item_id, event.text),
    "conversation.item.input_audio_transcription.completed": (event) => this.understood(event.item_id, event.transcript),
    "conversation.item.input_audio_transcription.failed": (event) => this.understood(event.item_id, ""),
    "conversation.item.added": (event) => this.added(event.item),
    "response.created": (event) => this.replyBegan(event.response.id),
    "response.output_item.added": (event) => this.replyItem(event.item),
    "response.output_audio_transcript.delta": (event) => this.replySays(event),
    "response.output_audio.delta": (event) => this.replySounds(event),
    "response.output_audio.done": () => void this.player?.end(),
    "response.done": (event) => this.replyEnded(event.response),
    "antiphon.output.muted": () => {
      this.player?.hold();
      this.happen({ type: "held" });
    },
    "antiphon.output.resumed": (event) => {
      this.player?.release(event.audio_end_ms);
      this.happen({ type: "released" });
    },
    error: (event) => {
      if (!HARMLESS.has(event.error.code)) this.rim.complain(String(event.error.message));
    },
  };

  served() {
    this.happen({ type: "served" });
    if (!this.greets || this.state.link !== "live") return;
    this.greets = false;
    this.rim.send({ type: "response.create" });
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
    const typed = item.content.find((/** @type {any} */ part) => part.type === "input_text");
    if (typed) this.transcript.understood(item.id, typed.text);
  }

  /** @param {string} id */
  replyBegan(id) {
    this.item = "";
    this.began = false;
    this.player?.begin();
    this.latency.asked(id, performance.now());
    this.happen({ type: "reply_began", id });
  }

  /** @param {any} item */
  replyItem(item) {
    if (item.type !== "message") return;
    this.item = item.id;
    this.transcript.line(item.id, "them");
    this.transcript.saysAnew(item.id);
  }

  /** @param {ServerEvent} event */
  replySays(event) {
    this.latency.mark("word_ms", performance.now());
    this.transcript.says(event.item_id, event.delta);
  }

  /** @param {ServerEvent} event */
  replySounds(event) {
    if (!this.began) this.goOnFrom(Number(event.antiphon?.start_ms ?? 0));
    this.began = true;
    this.latency.mark("packet_ms", performance.now());
    const bytes = fromBase64(event.delta);
    this.player?.push(event.antiphon?.packets ? cutPackets(bytes, event.antiphon.packets) : [bytes]);
    if (event.antiphon?.words) this.transcript.sounds(event.item_id, event.antiphon.words);
  }

  /** A reply that another connection began goes on where that was lost. @param {number} start_ms */
  goOnFrom(start_ms) {
    if (start_ms > 0) this.player?.release(start_ms);
  }

  /** @param {any} response */
  replyEnded(response) {
    const cut = response.status === "cancelled";
    const heard = this.player?.heardMs ?? 0;
    const sounded = this.state.sounding;
    if (response.status !== "completed") this.player?.stop();
    if (this.item) {
      this.transcript.heardTo(this.item, heard);
      this.transcript.ended(this.item, response.status !== "completed", response.antiphon?.heard);
      if (cut && sounded && response.status_details?.reason === "turn_detected") {
        this.rim.send({ type: "conversation.item.truncate", item_id: this.item, content_index: 0, audio_end_ms: heard });
      }
    }
    const { llm_first_token_ms: llm, tts_first_audio_ms: tts } = response.antiphon ?? {};
    this.latency.told(response.id, llm ?? NaN, tts ?? NaN);
    this.happen({ type: "reply_ended", id: response.id, cut: response.status !== "completed" });
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
