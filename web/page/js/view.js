/** Shows the state: the phase at a glance, what to do next, which buttons there are. It decides nothing. */

import { Announcing } from "./announcing.js";
import { byId, make } from "./dom.js";
import { answerMs } from "./latency.js";
import { canTalk } from "./session_state.js";
import { t } from "./strings.js";
import { heldToken } from "./token.js";

/** @typedef {import("./call.js").Call} Call */

/** Before the page's name in the browser's tabs: whose turn it is. @type {Record<string, string>} */
const SIGNS = { listening: "□", hearing: "■", thinking: "◇", speaking: "◆", muted: "‖" };

/** What was told stays in the page's live region so long that every reader got it. */
const TOLD_LINES = 6;

export class View {
  /** @param {Call} call @param {import("./wishes.js").Wishes} wishes */
  constructor(call, wishes) {
    this.call = call;
    this.wishes = wishes;
    this.phase = byId("phase", HTMLElement);
    this.hint = byId("hint", HTMLElement);
    this.talk = byId("talk", HTMLButtonElement);
    this.anew = byId("anew", HTMLButtonElement);
    this.dock = byId("dock", HTMLElement);
    this.farewell = byId("farewell", HTMLElement);
    this.mute = byId("mute", HTMLButtonElement);
    this.interrupt = byId("interrupt", HTMLButtonElement);
    this.hold = byId("hold", HTMLButtonElement);
    this.typed = byId("typed", HTMLInputElement);
    this.latency = byId("latency", HTMLElement);
    this.announcer = byId("announcer", HTMLElement);
    this.announcing = new Announcing();
    /** Somebody who has no microphone begins, and will type. */
    this.typing = false;
  }

  show() {
    const { state, phase, id } = this.call.conversation;
    const live = !canTalk(state) && state.link !== "asking";
    const focused = document.activeElement;
    const caption = this.caption();
    this.showBody(live);
    write(this.phase, caption);
    write(this.hint, this.hinted());
    write(this.talk, t(canTalk(state) ? this.verb() : live ? "end" : "cancel"));
    this.anew.hidden = !this.secondary();
    write(this.anew, this.secondary());
    const appeared = this.dock.hidden && live;
    this.dock.hidden = !live;
    this.farewell.hidden = live || !this.over();
    this.mute.setAttribute("aria-pressed", String(state.closed));
    this.mute.disabled = !this.call.microphone;
    this.interrupt.setAttribute("aria-disabled", String(!state.reply && !state.sounding));
    this.hold.hidden = !this.wishes.push;
    this.showLatency();
    this.tell(caption);
    document.title = live ? `${SIGNS[phase] ?? "·"} ${caption} · Antiphon` : "Antiphon";
    if (id) document.body.dataset.session = id;
    if (appeared && this.typing) this.typed.focus();
    else this.keepFocus(focused);
  }

  /** @param {boolean} live */
  showBody(live) {
    const { state, phase, transcript } = this.call.conversation;
    const body = document.body;
    body.dataset.phase = phase;
    body.classList.toggle("live", live);
    body.classList.toggle("spoken", transcript.lines.length > 0);
    body.classList.toggle("failed", phase === "failed");
    body.classList.toggle("shut", state.closed);
  }

  /** What vanished under the fingers of somebody leaves them at the button that is always there. @param {Element|null} focused */
  keepFocus(focused) {
    if (focused instanceof HTMLElement && focused !== document.body && !focused.checkVisibility()) this.talk.focus();
  }

  /** A talk was had, and is over. */
  over() {
    return this.call.conversation.transcript.lines.some((line) => line.who !== "note") && !heldToken();
  }

  caption() {
    const { state, phase } = this.call.conversation;
    if (state.closed && phase === "listening") return t("closed");
    if (phase === "idle" && this.over()) return t("ended");
    return t(phase, { place: state.place });
  }

  verb() {
    if (heldToken()) return "goOn";
    return this.call.conversation.transcript.lines.length ? "again" : "talk";
  }

  /** What the second button says; empty: there is none. */
  secondary() {
    const { state } = this.call.conversation;
    if (!canTalk(state)) return "";
    if (this.offersTyping) return t("typeInstead");
    return heldToken() ? t("anew") : "";
  }

  /** There is no microphone, but there are keys. */
  get offersTyping() {
    const { link, reason } = this.call.conversation.state;
    return link === "failed" && (reason.startsWith("mic") || reason === "insecure");
  }

  hinted() {
    const { state, phase } = this.call.conversation;
    if (this.call.trouble && state.link === "live") return t(this.call.trouble);
    switch (phase) {
      case "idle": return state.reason ? t(state.reason) : this.over() ? "" : t(this.call.away ? "away" : heldToken() ? "hintGoOn" : "hintIdle");
      case "asking": return t("hintAsking");
      case "queued": return t("hintQueued");
      case "failed": return `${t(state.reason)} ${state.detail}`.trim();
      case "reconnecting": return t(state.reason);
      case "listening": return state.closed ? t("hintClosed") : this.wishes.push ? t("hintPush") : "";
      default: return "";
    }
  }

  showLatency() {
    const turn = this.call.conversation.latency.turns.at(-1);
    const ms = turn ? answerMs(turn) : NaN;
    write(this.latency, Number.isFinite(ms) ? t("answered", { ms: Math.round(ms) }) : "");
  }

  /** @param {string} caption */
  tell(caption) {
    const { state, phase } = this.call.conversation;
    const what = this.announcing.of({ phase, place: state.place, closed: state.closed, reason: state.reason }, performance.now());
    if (what === "phase") this.announce(`${caption}. ${this.hinted()}`);
    else if (what) this.announce(t({ connected: "connected", ended: "ended", shut: "closed", opened: "opened" }[what]));
  }

  /** One after the other, so that none is lost to the next. @param {string} text @param {string} [lang] */
  announce(text, lang) {
    this.announcer.append(make("p", { lang }, text.trim()));
    while (this.announcer.children.length > TOLD_LINES) this.announcer.firstElementChild?.remove();
  }
}

/** @param {HTMLElement} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
