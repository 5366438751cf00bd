/** The sheet of choices: whom to talk to, how it sounds, what is kept, how the page looks. */

import { cards, credits } from "./cast.js";
import { Cloning } from "./cloning.js";
import { byId, make } from "./dom.js";
import { section, select, share, text, tick } from "./fields.js";
import { health } from "./server.js";
import { languageName, STRINGS, t } from "./strings.js";
import { keep } from "./wishes.js";

/**
 * @typedef {import("./wishes.js").Wishes} Wishes
 * @typedef {import("./server.js").Voice} Voice
 * @typedef {"text"|"json"|"srt"|"sound"} Format
 *
 * @typedef {object} House what the sheet needs of the page
 * @property {Wishes} wishes
 * @property {(name: keyof Wishes) => void} changed
 * @property {(format: Format) => void} download
 * @property {() => boolean} spoken there is something to download
 * @property {() => boolean} live a talk is under way
 * @property {() => boolean} sounds there is a sound file
 * @property {() => string} key
 */

export class Choices {
  /** @param {House} house */
  constructor(house) {
    this.house = house;
    this.wishes = house.wishes;
    this.dialog = byId("choices", HTMLDialogElement);
    this.body = byId("choices-body", HTMLElement);
    this.jump = byId("choices-jump", HTMLElement);
    this.cloning = new Cloning(house.key, () => this.wishes.microphone, (voice) => this.set("voice", voice));
    this.dialog.addEventListener("close", () => this.cloning.hush());
    /** Whether the server makes voices of recordings. */
    this.clones = false;
    /** @type {Voice[]} */
    this.voices = [];
    /** @type {MediaDeviceInfo[]} */
    this.devices = [];
  }

  /** @param {Voice[]} voices */
  async open(voices) {
    this.voices = voices;
    this.build();
    if (!this.dialog.open) this.dialog.showModal();
    void health().then((found) => this.show(found?.voice_cloning_up === true));
    const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    if (names(devices) === names(this.devices)) return;
    this.devices = devices;
    if (this.dialog.open) this.build();
  }

  /** @param {boolean} clones */
  show(clones) {
    if (clones === this.clones) return;
    this.clones = clones;
    if (this.dialog.open) this.build();
  }

  /** Anew, for the language may be another; who stands at a field still stands there. */
  build() {
    const at = this.body.contains(document.activeElement) ? document.activeElement?.id : "";
    const groups = [this.whom(), this.sound(), ...(this.clones ? [this.cloning.build()] : []), this.kept(), this.look()];
    this.body.replaceChildren(...groups);
    this.jump.replaceChildren(...["whom", "sound", "keep", "look"].map((name) => make("button", { type: "button", class: "quiet", onclick: () => goTo(name) }, t(`${name}Short`))));
    if (at) document.getElementById(at)?.focus();
  }

  /** @param {keyof Wishes} name @param {string|number|boolean} value */
  set(name, value) {
    Object.assign(this.wishes, { [name]: value });
    keep(this.wishes);
    this.house.changed(name);
  }

  whom() {
    const { wishes, voices } = this;
    const cast = voices.length ? [cards(voices, wishes.voice, (name) => this.set("voice", name), "voice-choices")] : [make("p", {}, t("whomNone"))];
    return section(
      "whom", ...cast,
      ...(this.house.live() ? [make("p", { class: "small" }, t("whomNew"))] : []),
      ...(voices.length ? [credits(voices)] : []),
      text({ name: "instructions", hint: "instructionsHint" }, wishes.instructions, (value) => this.set("instructions", value)),
      select({ name: "language" }, this.languages(), wishes.language, (value) => this.set("language", value)),
    );
  }

  sound() {
    const { wishes } = this;
    const device = (/** @type {"microphone"|"speaker"} */ name, /** @type {MediaDeviceKind} */ kind) =>
      select({ name }, this.ofKind(kind), wishes[name], (value) => this.set(name, value));
    return section(
      "sound",
      device("microphone", "audioinput"),
      ...("setSinkId" in AudioContext.prototype ? [device("speaker", "audiooutput")] : []),
      share({ name: "volume" }, wishes.volume, (value) => this.set("volume", value)),
      this.tick("push", "pushHint"),
      this.tick("greet", "greetHint"),
    );
  }

  /** Three things, apart: files for the user, a file that grows in the browser, and what the server may keep. */
  kept() {
    const server = make(
      "div", { class: "consent", role: "group", "aria-labelledby": "consent" },
      make("h3", { id: "consent" }, t("consent")), make("p", {}, t("keepSound")),
      this.tick("words", "keepWordsHint", "keepWords"),
      this.tick("sound", "keepVoiceHint", "keepVoice", !this.wishes.words),
      make("p", { class: "small" }, t("keepHint")),
    );
    return section("keep", make("p", {}, t("keepLead")), this.files(), this.tick("keepsake", "keepsakeHint"), server);
  }

  look() {
    const { wishes } = this;
    const themes = [{ value: "", name: t("themeAuto") }, { value: "light", name: t("themeLight") }, { value: "dark", name: t("themeDark") }];
    const languages = Object.keys(STRINGS).map((code) => ({ value: code, name: languageName(code) }));
    return section(
      "look",
      select({ name: "theme" }, themes, wishes.theme, (value) => this.set("theme", value)),
      select({ name: "ui" }, languages, wishes.ui || document.documentElement.lang, (value) => this.set("ui", value)),
      this.tick("shortcuts", "shortcutsHint"),
      this.tick("announce", "announceHint"),
    );
  }

  languages() {
    const spoken = this.voices.filter((voice) => voice.available !== false).flatMap((voice) => voice.instructions.language?.split("/") ?? []);
    return [{ value: "", name: t("asCharacter") }, ...[...new Set(spoken)].map((code) => ({ value: code, name: languageName(code) }))];
  }

  /** @param {MediaDeviceKind} kind */
  ofKind(kind) {
    const named = this.devices.filter((device) => device.kind === kind && device.deviceId && device.deviceId !== "default");
    return [{ value: "", name: t("standard") }, ...named.map((device, at) => ({ value: device.deviceId, name: device.label || `${at + 1}` }))];
  }

  files() {
    const { spoken, sounds, download } = this.house;
    const buttons = fileButtons(download, sounds());
    if (!spoken()) for (const button of buttons) button.disabled = true;
    return make("div", { class: "field", role: "group", "aria-label": t("keepText") }, make("span", {}, t("keepText")), make("div", { class: "deeds" }, ...buttons));
  }

  /** @param {"push"|"greet"|"words"|"sound"|"keepsake"|"shortcuts"|"announce"} name @param {string} hint @param {string} [label] @param {boolean} [disabled] */
  tick(name, hint, label, disabled) {
    return tick({ name, hint, label, disabled }, this.wishes[name], (value) => {
      if (name === "words" && !value) this.wishes.sound = false;
      this.set(name, value);
      if (name === "words") this.build(); // what hangs on it
    });
  }
}

/** What can be taken home of a conversation. @param {(format: Format) => void} download @param {boolean} sounds there is a sound file */
export function fileButtons(download, sounds) {
  const formats = /** @type {const} */ ([["text", "fileText"], ["json", "fileJson"], ["srt", "fileSrt"], .../** @type {[Format, string][]} */ (sounds ? [["sound", "keepsakeGet"]] : [])]);
  return formats.map(([format, name]) => make("button", { type: "button", onclick: () => download(format) }, t(name)));
}

/** Browsers tell names only once the microphone was allowed. @param {MediaDeviceInfo[]} devices */
const names = (devices) => devices.map((device) => `${device.deviceId} ${device.label}`).join();

/** @param {string} name */
function goTo(name) {
  const legend = document.querySelector(`#choices-${name} > legend`);
  if (!(legend instanceof HTMLElement)) return;
  legend.focus({ preventScroll: true });
  legend.scrollIntoView();
}
