/**
 * The WebSocket: made, watched, made again. It knows the handshake and what closes mean; what events say is for
 * conversation.js.
 */

import { LOOK_MS, Pulse } from "./pulse.js";
import { afterClose, afterRefusal, afterSilence } from "./retry.js";
import { whyRefused } from "./server.js";
import { forgetToken, heldToken, isSayable, keepToken } from "./token.js";

/**
 * @typedef {{type: string, [name: string]: any}} ServerEvent
 *
 * @typedef {object} Listener
 * @property {() => string} key an API key, or nothing
 * @property {(resumed: boolean) => object} session what a conversation is to be
 * @property {(resumed: boolean, session: any) => void} connected
 * @property {(event: ServerEvent) => void} event
 * @property {() => object} question something that a server answers at once, and that changes nothing
 * @property {(reason: string, detail: string) => void} lost another attempt follows
 * @property {(reason: string, detail: string) => void} failed
 * @property {(reason: string) => void} ended the server said goodbye, or the conversation goes on elsewhere
 */

/** A server that says nothing for so long has another protocol, or is stuck. */
const GREETING_MS = 10_000;

/** What may wait to be sent: some 5 s of audio. More of it comes too late to be answered. */
const MOST_WAITING_BYTES = 1 << 16;

/** We leave a connection, not the conversation. */
const LEFT = 4000;

/** The conversation is over. */
const GOODBYE = 1000;

/** A socket that takes nothing for so long is dead, whatever it says. */
const STUCK_MS = 8_000;

/** How often it is noted that the token is still in use. */
const NOTED_MS = 5_000;

/** A connection that stood so long was a good one: what follows is no further attempt at it. */
const STEADY_MS = 5_000;

export class Wire {
  /** @param {Listener} listener */
  constructor(listener) {
    this.listener = listener;
    /** @type {WebSocket|null} */
    this.socket = null;
    /** @type {Pulse|null} of a connection on which we were greeted */
    this.pulse = null;
    this.greeted_ms = NaN;
    this.attempt = 0;
    this.stuck_since = 0;
    this.left = false;
    this.noted = 0;
    /** Counts what was given up: who waited for an answer meanwhile is not wanted any more. */
    this.turn = 0;
    /** Of the newest conversation: it is asked for its transcript even after its end. */
    this.token = "";
    /** @type {ReturnType<typeof setTimeout>|undefined} of the greeting, or of the next attempt */
    this.timer = undefined;
    /** @type {ReturnType<typeof setInterval>|undefined} */
    this.looks = undefined;
  }

  /** A connection; with a token that is still good, of the conversation that was. */
  open() {
    this.drop();
    this.left = false;
    const token = heldToken();
    const key = this.listener.key();
    if (!isSayable(key)) return this.listener.failed("key_", "");
    const protocols = ["realtime", ...(key ? [`openai-insecure-api-key.${key}`] : []), ...(token ? [`antiphon-resume.${token}`] : [])];
    const socket = new WebSocket(address(), protocols);
    this.socket = socket;
    let stood = false;
    this.timer = setTimeout(() => this.giveUp(afterSilence(stood, this.effort(), Math.random())), GREETING_MS);
    socket.onopen = () => (stood = true);
    socket.onmessage = (message) => this.take(message.data);
    socket.onclose = (close) => {
      if (this.socket !== socket) return;
      if (stood) this.giveUp(afterClose(close, this.effort(), Math.random()), close.reason);
      else void this.refused();
    };
  }

  /** Goodbye: the conversation is over. */
  hangUp() {
    forgetToken();
    this.attempt = 0;
    this.drop(GOODBYE);
  }

  /** @param {object} event @returns {boolean} whether it left */
  send(event) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(event));
    return true;
  }

  /** Audio that cannot leave is dropped; a socket that never drains is given up. @param {object} event */
  sendAudio(event) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    if (this.socket.bufferedAmount <= MOST_WAITING_BYTES) {
      this.stuck_since = 0;
      return this.send(event);
    }
    this.stuck_since ||= performance.now();
    if (performance.now() - this.stuck_since > STUCK_MS) this.again();
    return false;
  }

  /** Now, without waiting: the connection is dead, whatever it says, or the network is back. */
  again() {
    this.attempt = 0;
    this.listener.lost(heldToken() ? "lost" : "broken", "");
    this.open();
  }

  /** Nothing stays as it was since: the page slept, or the network changed. */
  wakeUp() {
    if (this.waits || this.gone) return this.again();
    if (!this.pulse || this.pulse.queued) return;
    this.pulse.doubt(performance.now());
    this.send(this.listener.question());
  }

  /** An attempt is waited for. */
  get waits() {
    return this.socket === null && this.timer !== undefined;
  }

  /** The page went away, and came back as it was. */
  get gone() {
    return this.left && this.socket === null;
  }

  /** @param {unknown} data */
  take(data) {
    this.pulse?.heard(performance.now());
    const event = parsed(data);
    if (!event) return;
    try {
      if (event.type === "session.created") this.greeted(event.session);
      else this.stillHere(event.type);
      this.listener.event(event);
    } catch (error) {
      console.warn(`antiphon: ${event.type.slice(0, 80)} could not be taken`, error);
    }
  }

  /** Greeted once more we have been greeted already. @param {any} session */
  greeted(session) {
    if (this.pulse) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.greeted_ms = performance.now();
    this.pulse = new Pulse(this.greeted_ms);
    this.looks = setInterval(() => this.look(), LOOK_MS);
    const ours = session?.antiphon ?? {};
    const resumed = ours.resumed === true;
    if (!resumed) forgetToken();
    keepToken(ours.resume_token);
    this.token = heldToken();
    this.send({ type: "session.update", session: this.listener.session(resumed) });
    this.listener.connected(resumed, session);
  }

  /** The token is good for as long after this as the server keeps the conversation. @param {string} type */
  stillHere(type) {
    if (this.pulse && type === "antiphon.queued") this.pulse.queued = true;
    if (this.pulse && type === "session.updated") this.pulse.queued = false;
    if (performance.now() - this.noted < NOTED_MS) return;
    this.noted = performance.now();
    keepToken();
  }

  /** Whether it is still there, is looked at now and then. */
  look() {
    const verdict = this.pulse?.look(performance.now());
    if (verdict === "ask") this.send(this.listener.question());
    if (verdict === "gone") this.again();
  }

  /** The page goes away, perhaps to come back: the server shall not take it for a goodbye, as browsers would say it. */
  leave() {
    if (!this.socket) return;
    this.left = true;
    keepToken();
    this.drop();
  }

  /** What was tried so far. @returns {import("./retry.js").Effort} */
  effort() {
    if (performance.now() - this.greeted_ms > STEADY_MS) this.attempt = 0;
    this.greeted_ms = NaN;
    return { attempt: this.attempt++, resuming: heldToken() !== "", queued: this.pulse?.queued ?? false };
  }

  async refused() {
    this.drop();
    const { turn } = this;
    const answer = await whyRefused(this.listener.key(), heldToken());
    if (turn === this.turn) this.giveUp(afterRefusal(answer, this.effort(), Math.random()), answer.message);
  }

  /** @param {import("./retry.js").Verdict} verdict @param {string} [detail] */
  giveUp(verdict, detail = "") {
    if (this.pulse) keepToken(); // from now on the server counts
    this.drop();
    if (verdict.forget) forgetToken();
    if (verdict.then === "ended") return this.listener.ended(verdict.reason);
    if (verdict.then === "failed") return this.listener.failed(verdict.reason, detail);
    this.timer = setTimeout(() => this.open(), verdict.wait_ms);
    this.listener.lost(verdict.reason, detail);
  }

  /** Nothing comes of what is under way. @param {number} code */
  drop(code = LEFT) {
    clearTimeout(this.timer);
    clearInterval(this.looks);
    this.timer = this.looks = undefined;
    this.stuck_since = 0;
    this.pulse = null;
    this.turn += 1;
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (socket.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(code); // browsers complain of less
    else socket.close(code);
  }
}

/** Our dialect, with our extensions. */
function address() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${location.host}/v1/realtime?dialect=ga&model=antiphon&extensions=antiphon`;
}

/** @param {unknown} data @returns {ServerEvent|null} */
function parsed(data) {
  try {
    const event = JSON.parse(String(data));
    return typeof event?.type === "string" ? event : null;
  } catch {
    return null;
  }
}
