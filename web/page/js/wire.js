/**
 * The WebSocket: made, watched, made again. It knows the handshake, the resume token and what closes mean; what events
 * say is for conversation.js.
 */

import { afterClose, afterRefusal, RESUME_MS } from "./retry.js";
import { statusOf } from "./server.js";

/**
 * @typedef {{type: string, [name: string]: any}} ServerEvent
 *
 * @typedef {object} Listener
 * @property {() => string} key an API key, or nothing
 * @property {(resumed: boolean) => object} session what a conversation is to be
 * @property {(resumed: boolean, session: any) => void} connected
 * @property {(event: ServerEvent) => void} event
 * @property {(reason: string, detail: string, wait_ms: number) => void} lost another attempt follows
 * @property {(reason: string, detail: string) => void} failed
 * @property {() => void} ended the server said goodbye
 */

/** Where the token survives a reload of the page, and nothing else does. */
const KEPT_AS = "antiphon.resume";

/** A server that says nothing for so long after the connection stood has another protocol, or is stuck. */
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

export class Wire {
  /** @param {Listener} listener */
  constructor(listener) {
    this.listener = listener;
    /** @type {WebSocket|null} */
    this.socket = null;
    this.attempt = 0;
    this.stuck_since = 0;
    this.left = false;
    this.noted = 0;
    /** Of the newest conversation: it is asked for its transcript even after its end. */
    this.token = "";
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.timer = undefined;
  }

  /** A connection; with a token that is still good, of the conversation that was. */
  open() {
    this.drop();
    this.left = false;
    const token = heldToken();
    const key = this.listener.key();
    const protocols = ["realtime", ...(key ? [`openai-insecure-api-key.${key}`] : []), ...(token ? [`antiphon-resume.${token}`] : [])];
    const socket = new WebSocket(address(), protocols);
    this.socket = socket;
    this.timer = setTimeout(() => socket.close(), GREETING_MS);
    let stood = false;
    socket.onopen = () => (stood = true);
    socket.onmessage = (message) => this.take(message.data);
    socket.onclose = (close) => {
      if (this.socket !== socket) return;
      this.drop();
      if (stood) this.follow(afterClose(close.code, this.attempt++, Math.random()), close.reason);
      else void this.refused(Boolean(token));
    };
  }

  /** Goodbye: the conversation is over. */
  hangUp() {
    forgetToken();
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

  /** Now, without waiting: the network is back, or the page was asleep. */
  again() {
    this.attempt = 0;
    this.listener.lost("lost", "", 0);
    this.open();
  }

  /** Whether an attempt is waited for. */
  get waits() {
    return this.socket === null && this.timer !== undefined;
  }

  /** The page went away, and came back as it was. */
  get gone() {
    return this.left && this.socket === null;
  }

  /** @param {unknown} data */
  take(data) {
    const event = parsed(data);
    if (!event) return;
    if (event.type === "session.created") this.greeted(event.session);
    else this.stillHere();
    this.listener.event(event);
  }

  /** @param {any} session */
  greeted(session) {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.attempt = 0;
    const ours = session?.antiphon ?? {};
    if (typeof ours.resume_token === "string") keepToken((this.token = ours.resume_token));
    const resumed = ours.resumed === true;
    this.send({ type: "session.update", session: this.listener.session(resumed) });
    this.listener.connected(resumed, session);
  }

  /** The token is good for as long after this as the server keeps the conversation. */
  stillHere() {
    if (performance.now() - this.noted < NOTED_MS) return;
    this.noted = performance.now();
    keepToken();
  }

  /** The page goes away, perhaps to come back: the server shall not take it for a goodbye, as browsers would say it. */
  leave() {
    if (!this.socket) return;
    this.left = true;
    keepToken();
    this.drop();
  }

  /** @param {boolean} resuming */
  async refused(resuming) {
    const attempt = this.attempt++;
    const { status, message } = await statusOf("/v1/models", this.listener.key());
    if (this.socket === null && this.timer === undefined) this.follow(afterRefusal(status, resuming, attempt, Math.random()), message);
  }

  /** @param {import("./retry.js").Verdict} verdict @param {string} detail */
  follow(verdict, detail) {
    if (verdict.forget) forgetToken();
    if (verdict.then === "ended") this.listener.ended();
    else if (verdict.then === "failed") this.listener.failed(verdict.reason, detail);
    else {
      this.timer = setTimeout(() => this.open(), verdict.wait_ms);
      this.listener.lost(verdict.reason, detail, verdict.wait_ms);
    }
  }

  /** Nothing comes of what is under way. @param {number} code */
  drop(code = LEFT) {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.stuck_since = 0;
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

/** @param {string} [token] the newest; none: it is still in use */
function keepToken(token) {
  const kept = token ?? heldToken();
  if (kept) sessionStorage.setItem(KEPT_AS, JSON.stringify({ token: kept, at_ms: Date.now() }));
}

export function forgetToken() {
  sessionStorage.removeItem(KEPT_AS);
}

/** The token, while the server keeps what it stands for; empty: none. @returns {string} */
export function heldToken() {
  try {
    const { token, at_ms } = JSON.parse(sessionStorage.getItem(KEPT_AS) ?? "{}");
    return typeof token === "string" && Date.now() - at_ms < RESUME_MS ? token : "";
  } catch {
    return "";
  }
}
