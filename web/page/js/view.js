/** Shows the state: the phase at a glance, what to do next, which buttons there are. It decides nothing. */

import { byId } from "./dom.js";
import { answerMs } from "./latency.js";
import { canTalk } from "./session_state.js";
import { t } from "./strings.js";
import { heldToken } from "./token.js";

/** @typedef {import("./call.js").Call} Call */

/** Said aloud by screen readers; the turns of a talk are heard anyway. */
const ANNOUNCED = new Set(["queued", "reconnecting", "failed", "idle"]);

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
    this.mute = byId("mute", HTMLButtonElement);
    this.interrupt = byId("interrupt", HTMLButtonElement);
    this.hold = byId("hold", HTMLButtonElement);
    this.latency = byId("latency", HTMLElement);
    this.announcer = byId("announcer", HTMLElement);
    this.said = "";
  }

  show() {
    const { state, phase, id } = this.call.conversation;
    const live = !canTalk(state) && state.link !== "asking";
    const body = document.body;
    body.dataset.phase = phase;
    body.classList.toggle("live", live);
    body.classList.toggle("spoken", this.call.conversation.transcript.lines.length > 0);
    body.classList.toggle("failed", phase === "failed");
    const caption = state.closed && phase === "listening" ? t("closed") : t(phase, { place: state.place });
    write(this.phase, caption);
    write(this.hint, this.hinted());
    write(this.talk, t(canTalk(state) ? this.verb() : live ? "end" : "cancel"));
    this.anew.hidden = !this.secondary();
    write(this.anew, this.secondary());
    this.dock.hidden = !live;
    this.mute.setAttribute("aria-pressed", String(state.closed));
    this.mute.disabled = !this.call.microphone;
    this.interrupt.disabled = !state.reply;
    this.hold.hidden = !this.wishes.push;
    this.showLatency();
    if (phase !== this.said && (ANNOUNCED.has(phase) || (phase === "listening" && (this.said === "connecting" || this.said === "reconnecting")))) {
      if (this.said) this.announce(`${caption}. ${phase === "idle" && !state.reason ? "" : this.hinted()}`);
    }
    this.said = phase;
    document.title = live ? `${caption} · Antiphon` : "Antiphon";
    if (id) body.dataset.session = id;
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
      case "idle": return t(state.reason || (this.call.away ? "away" : heldToken() ? "hintGoOn" : "hintIdle"));
      case "asking": return t("hintAsking");
      case "queued": return t("hintQueued");
      case "failed": return `${t(state.reason)} ${state.detail}`.trim();
      case "reconnecting": return t(state.reason);
      case "listening": return this.wishes.push ? t("hintPush") : "";
      default: return "";
    }
  }

  showLatency() {
    const turn = this.call.conversation.latency.turns.at(-1);
    const ms = turn ? answerMs(turn) : NaN;
    write(this.latency, Number.isFinite(ms) ? t("answered", { ms: Math.round(ms) }) : "");
  }

  /** @param {string} text */
  announce(text) {
    this.announcer.textContent = text.trim();
  }
}

/** @param {HTMLElement} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
