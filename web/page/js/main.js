/** Wires the page: elements to deeds, the call to the view. */

import { hearBy } from "./audio.js";
import { Call } from "./call.js";
import { cards, credits, speaker, tongue } from "./cast.js";
import { Choices, fileButtons } from "./choices.js";
import { DebugView } from "./debug_view.js";
import { byId, make } from "./dom.js";
import { Door } from "./door.js";
import * as keys from "./keys.js";
import { Choirs } from "./meter.js";
import { minutes } from "./server.js";
import { canTalk } from "./session_state.js";
import { choose, t } from "./strings.js";
import { Subtitles } from "./subtitles.js";
import { View } from "./view.js";
import * as store from "./wishes.js";

/** A browser has begun to save a file by then. */
const SAVING_MS = 60_000;

const wishes = store.kept();
/** @type {import("./server.js").Voice[]} */
let cast = [];
/** The server named whom one can talk to. */
let met = false;
let due = false;

const door = new Door({
  welcome: (voices) => {
    cast = voices;
    met = true;
    if (["key_", "refused"].includes(conversation.state.reason)) conversation.happen({ type: "ended" });
    showCast();
    show();
  },
  refused: (message) => call.fail("refused", message),
  away: (away) => {
    call.away = away;
    show();
  },
});

const call = new Call({
  wishes,
  voices: () => cast,
  key: () => door.key,
  changed: () => {
    if (due) return;
    due = true;
    queueMicrotask(show);
  },
  complain: (text) => note(text),
  say: (name) => note(t(name)),
  giveBack: (text) => {
    const typed = byId("typed", HTMLInputElement);
    typed.value = [text, typed.value].filter(Boolean).join(" ");
  },
});
const { conversation } = call;
const view = new View(call, wishes);
const debug = new DebugView(conversation, () => (call.context ? `${conversation.opus ? "Opus" : "pcm16"} · ${call.context.sampleRate} Hz` : "–"));
const choirs = new Choirs(byId("choirs", HTMLCanvasElement), () => ({
  phase: conversation.phase, closed: conversation.state.closed, place: conversation.state.place, live: !canTalk(conversation.state),
  you: call.microphone?.meter ?? null, them: conversation.player?.meter ?? null,
}));
const said = byId("said", HTMLElement);
const subtitles = new Subtitles(said, byId("lines", HTMLElement), { told: announceLine, name, language });
const choices = new Choices({
  wishes, changed: chosen, download: (format) => void download(format), key: () => door.key,
  spoken: () => conversation.id !== "", live: () => !canTalk(conversation.state), sounds: () => call.keepsake.file !== null,
});

function show() {
  due = false;
  if (conversation.state.reason === "key_") door.ask();
  view.show();
  subtitles.show(conversation.transcript);
  choirs.show();
  showFarewell();
}

/** @param {string} text */
function note(text) {
  conversation.transcript.note(text);
  show();
}

/** @param {"you"|"them"} who */
function name(who) {
  if (who === "them" && wishes.voice.startsWith(store.CLONED)) return t("ownVoice");
  return who === "you" ? t("you") : (speaker(cast, wishes.voice)?.name ?? t("them"));
}

/** What somebody speaks. @param {"you"|"them"} who */
function language(who) {
  return (who === "you" && wishes.language) || tongue(speaker(cast, wishes.voice)) || document.documentElement.lang;
}

/** @param {import("./transcript.js").Line} line */
function announceLine(line) {
  const text = (line.who === "them" ? line.text.slice(0, line.heard) : line.text).trim();
  if (!wishes.announce || (!text && line.state !== "cut")) return;
  if (line.who === "note") view.announce(text);
  else view.announce(t(line.state === "cut" ? "cutShort" : "spoke", { name: name(line.who), text }));
}

// --- deeds

byId("talk", HTMLButtonElement).addEventListener("click", () => {
  if (canTalk(conversation.state) && door.shut) door.open();
  else if (canTalk(conversation.state)) {
    view.typing = false;
    void call.begin();
  } else call.end();
});
byId("anew", HTMLButtonElement).addEventListener("click", () => {
  view.typing = view.offersTyping;
  if (view.typing) return void call.begin(true);
  call.anew();
  show();
});
byId("mute", HTMLButtonElement).addEventListener("click", () => call.toggleMute());
byId("interrupt", HTMLButtonElement).addEventListener("click", () => conversation.interrupt());
byId("composer", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = byId("typed", HTMLInputElement);
  if (!typed.value.trim() || conversation.type(typed.value.trim())) typed.value = "";
});
const hold = byId("hold", HTMLButtonElement);
hold.addEventListener("pointerdown", () => call.hold());
for (const end of ["pointerup", "pointercancel", "pointerleave"]) hold.addEventListener(end, () => call.letGo());
byId("show-subtitles", HTMLButtonElement).addEventListener("click", toggleSubtitles);
byId("show-debug", HTMLButtonElement).addEventListener("click", toggleDebug);
byId("close-debug", HTMLButtonElement).addEventListener("click", () => {
  toggleDebug();
  byId("show-debug", HTMLButtonElement).focus();
});
byId("show-choices", HTMLButtonElement).addEventListener("click", () => void choices.open(cast));

keys.listen({
  singles: () => wishes.shortcuts,
  pushes: () => wishes.push && conversation.state.link === "live",
  keys: { s: toldSubtitles, d: toggleDebug, m: () => call.toggleMute(), i: () => conversation.interrupt() },
  press: () => call.hold(),
  letGo: () => call.letGo(),
});

function toggleSubtitles() {
  wishes.subtitles = !wishes.subtitles;
  store.keep(wishes);
  showSwitches();
}

/** By a key, which tells nothing of itself. */
function toldSubtitles() {
  toggleSubtitles();
  view.announce(t(wishes.subtitles ? "subtitlesOn" : "subtitlesOff"));
}

function toggleDebug() {
  debug.toggle();
  showSwitches();
}

function showSwitches() {
  said.classList.toggle("off", !wishes.subtitles);
  byId("show-subtitles", HTMLButtonElement).setAttribute("aria-pressed", String(wishes.subtitles));
  byId("show-debug", HTMLButtonElement).setAttribute("aria-pressed", String(debug.open));
}

/** @param {keyof typeof wishes} what */
function chosen(what) {
  if (what === "theme") paint();
  else if (what === "ui") speak();
  else if (what === "volume" && conversation.player) conversation.player.volume = wishes.volume;
  else if (what === "speaker" && call.context) void hearBy(call.context, wishes.speaker);
  else if (what === "microphone") void call.changeMicrophone();
  else if (what === "keepsake") call.keep();
  else if (["language", "push", "words", "sound"].includes(what)) call.reconfigure();
  showCast();
  show();
}

/** Whom to talk to, before a talk. */
function showCast() {
  byId("their-name", HTMLElement).textContent = name("them");
  const whom = byId("whom", HTMLElement);
  if (whom.contains(document.activeElement)) return; // somebody is choosing there, and sees it
  const all = () => [make("h2", {}, t("whom")), cards(cast, wishes.voice, (chosen) => choices.set("voice", chosen), "voice"), credits(cast)];
  whom.replaceChildren(...(cast.length ? all() : met ? [make("p", { class: "small" }, t("whomNone"))] : []));
}

/** What can be taken home, where one looks for it: after the end. */
function showFarewell() {
  if (view.farewell.hidden) return;
  const look = `${document.documentElement.lang} ${conversation.id} ${call.keepsake.file !== null}`;
  if (view.farewell.dataset.look === look) return;
  view.farewell.dataset.look = look;
  const other = make("button", { type: "button", class: "quiet", onclick: () => void choices.open(cast) }, t("somebodyElse"));
  byId("farewell-files", HTMLElement).replaceChildren(...fileButtons((format) => void download(format), call.keepsake.file !== null), other);
}

/** @param {"text"|"json"|"srt"|"sound"} format */
async function download(format) {
  if (format === "sound") return save(call.keepsake.file?.blob ?? null, call.keepsake.file?.suffix ?? "");
  const found = (conversation.id ? await minutes(conversation.id, call.wire.token, format) : null) ?? (format === "text" ? ownMinutes() : null);
  save(found, format === "text" ? "txt" : format);
}

/** What stands on the page, where the server has forgotten it. */
function ownMinutes() {
  const lines = conversation.transcript.lines.filter((line) => line.who !== "note" && line.text.slice(0, line.heard).trim());
  const text = lines.map((line) => `${name(line.who === "you" ? "you" : "them")}: ${line.text.slice(0, line.heard).trim()}\n`).join("");
  return text ? new Blob([text], { type: "text/plain" }) : null;
}

/** @param {Blob|null} found @param {string} suffix */
function save(found, suffix) {
  if (!found) return note(t("nothingKept"));
  const url = URL.createObjectURL(found);
  make("a", { href: url, download: `antiphon.${suffix}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), SAVING_MS);
}

function paint() {
  if (wishes.theme) document.documentElement.dataset.theme = wishes.theme;
  else delete document.documentElement.dataset.theme;
  choirs.repaint();
}

function speak() {
  choose(wishes.ui);
  showCast();
  debug.anew();
  if (choices.dialog.open) choices.build();
}

// --- the world

addEventListener("pagehide", () => call.wire.leave());
addEventListener("pageshow", (event) => event.persisted && call.wakeUp());
addEventListener("online", () => call.wakeUp());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) call.wakeUp();
});
document.addEventListener("resume", () => call.wakeUp());
navigator.mediaDevices?.addEventListener("devicechange", () => call.devicesChanged());

paint();
speak();
showSwitches();
show();
void door.knock();
// For whoever looks into it from the browser's console, and for tests.
Object.assign(globalThis, { antiphon: { call, conversation, door, wishes, choirs } });
