/** The sheet of choices: whom to talk to, how it sounds, what is kept, how the page looks. */

import { cards, credits } from "./cast.js";
import { Cloning } from "./cloning.js";
import { byId, make } from "./dom.js";
import { health } from "./server.js";
import { languageName, STRINGS, t } from "./strings.js";
import { keep } from "./wishes.js";

/**
 * @typedef {import("./wishes.js").Wishes} Wishes
 * @typedef {import("./server.js").Voice} Voice
 * @typedef {{value: string, name: string}} Option
 */

export class Choices {
  /**
   * @param {Wishes} wishes
   * @param {(name: keyof Wishes) => void} changed
   * @param {(format: "text"|"json"|"srt"|"sound") => void} download
   * @param {() => string} key
   */
  constructor(wishes, changed, download, key) {
    this.wishes = wishes;
    this.changed = changed;
    this.download = download;
    this.dialog = byId("choices", HTMLDialogElement);
    this.body = byId("choices-body", HTMLElement);
    this.cloning = new Cloning(key, () => wishes.microphone, (voice) => this.set("voice", voice));
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
    if (devices.length === this.devices.length) return;
    this.devices = devices;
    if (this.dialog.open) this.build();
  }

  /** @param {boolean} clones */
  show(clones) {
    if (clones === this.clones) return;
    this.clones = clones;
    if (this.dialog.open) this.build();
  }

  build() {
    const { wishes } = this;
    this.body.replaceChildren(
      section("whom", ...this.cast(), this.text("instructions"), this.select("language", this.languages(), wishes.language)),
      ...(this.clones ? [this.cloning.build()] : []),
      section(
        "sound",
        this.select("microphone", this.ofKind("audioinput"), wishes.microphone),
        ..."setSinkId" in AudioContext.prototype ? [this.select("speaker", this.ofKind("audiooutput"), wishes.speaker)] : [],
        this.range(),
        this.tick("push"),
        this.tick("greet"),
      ),
      section("keep", this.files(), this.tick("keepsake"), make("button", { type: "button", onclick: () => this.download("sound") }, t("keepsakeGet")), make("p", {}, t("keepSound")), this.tick("words", "keepWords"), this.tick("sound", "keepVoice"), make("small", {}, t("keepHint"))),
      section(
        "look",
        this.select("theme", [{ value: "", name: t("themeAuto") }, { value: "light", name: t("themeLight") }, { value: "dark", name: t("themeDark") }], wishes.theme),
        this.select("ui", Object.keys(STRINGS).map((code) => ({ value: code, name: languageName(code) })), wishes.ui || document.documentElement.lang),
        this.tick("shortcuts"),
        this.tick("announce"),
      ),
    );
  }

  /** @param {keyof Wishes} name @param {string|number|boolean} value */
  set(name, value) {
    Object.assign(this.wishes, { [name]: value });
    keep(this.wishes);
    this.changed(name);
  }

  cast() {
    if (!this.voices.length) return [make("p", {}, t("whomNone"))];
    const choose = (/** @type {string} */ name) => this.set("voice", name);
    return [cards(this.voices, this.wishes.voice, choose, "voice-choices"), make("p", {}, t("whomNew")), credits(this.voices)];
  }

  languages() {
    const spoken = this.voices.filter((voice) => voice.available !== false).flatMap((voice) => voice.instructions.language?.split("/") ?? []);
    return [{ value: "", name: t("asCharacter") }, ...[...new Set(spoken)].map((code) => ({ value: code, name: languageName(code) }))];
  }

  /** @param {MediaDeviceKind} kind @returns {Option[]} */
  ofKind(kind) {
    const named = this.devices.filter((device) => device.kind === kind && device.deviceId && device.deviceId !== "default");
    return [{ value: "", name: t("standard") }, ...named.map((device, at) => ({ value: device.deviceId, name: device.label || `${at + 1}` }))];
  }

  files() {
    const formats = /** @type {const} */ ([["text", "Text"], ["json", "JSON"], ["srt", "SRT"]]);
    const buttons = formats.map(([format, name]) => make("button", { type: "button", onclick: () => this.download(format) }, name));
    return make("div", { class: "field", role: "group", "aria-label": t("keepText") }, make("span", {}, t("keepText")), make("div", { class: "deeds" }, ...buttons));
  }

  // --- fields

  /** @param {keyof Wishes} name @param {Option[]} options @param {string} value */
  select(name, options, value) {
    const items = options.map((option) => make("option", { value: option.value, selected: option.value === value }, option.name));
    const input = make("select", { id: `wish-${name}` }, ...items);
    input.addEventListener("change", () => this.set(name, input.value));
    return field(name, input);
  }

  /** @param {"instructions"} name */
  text(name) {
    const input = make("textarea", { id: `wish-${name}`, rows: 3, maxlength: 4000, "aria-describedby": `hint-${name}` });
    input.value = this.wishes[name];
    input.addEventListener("change", () => this.set(name, input.value));
    const found = field(name, input);
    found.append(make("small", { id: `hint-${name}` }, t(`${name}Hint`)));
    return found;
  }

  range() {
    const input = make("input", { id: "wish-volume", type: "range", min: 0, max: 1, step: 0.05, value: this.wishes.volume });
    input.addEventListener("input", () => this.set("volume", Number(input.value)));
    return field("volume", input);
  }

  /** @param {keyof Wishes} name @param {string} [label] */
  tick(name, label = name) {
    const input = make("input", { id: `wish-${name}`, type: "checkbox", checked: Boolean(this.wishes[name]) });
    input.addEventListener("change", () => this.set(name, input.checked));
    return make("div", { class: "field row" }, input, make("label", { for: `wish-${name}` }, t(label)));
  }
}

/** @param {string} name @param {...Node} children */
function section(name, ...children) {
  return make("fieldset", {}, make("legend", {}, t(name)), ...children);
}

/** @param {string} name @param {HTMLElement} input */
function field(name, input) {
  return make("div", { class: "field" }, make("label", { for: input.id }, t(name)), input);
}
