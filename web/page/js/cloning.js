/** A voice of one's own: recorded or taken from a file, cut, listened to, and sent to the server that makes a voice of it. */

import { openAudio } from "./audio.js";
import { askForMicrophone, whyDenied } from "./capture.js";
import { make } from "./dom.js";
import { cut, joined, LONGEST_S, RATE, unfit, wav } from "./sample.js";
import { cloneVoice } from "./server.js";
import { t } from "./strings.js";

/** More than an hour of sound, which no browser need hold at once. */
const MOST_BYTES = 1 << 26;

export class Cloning {
  /** @param {() => string} key @param {() => string} microphone @param {(voice: string) => void} made */
  constructor(key, microphone, made) {
    this.key = key;
    this.microphone = microphone;
    this.made = made;
    this.samples = new Float32Array(0);
    /** @type {(() => void)|null} ends the recording under way */
    this.stop = null;
    /** Counts what was begun: who was overtaken, or is not wanted any more, gives up. */
    this.turn = 0;
    this.sending = false;
    /** @type {AudioBufferSourceNode|null} */
    this.preview = null;
    this.says = make("p", { role: "status" });
    this.begin = make("input", { type: "range", id: "sample-begin", min: 0, step: 0.1 });
    this.end = make("input", { type: "range", id: "sample-end", min: 0, step: 0.1 });
    this.record = make("button", { type: "button", onclick: () => void this.toggle() });
    this.file = make("input", { type: "file", id: "sample-file", accept: "audio/*", onchange: () => void this.take() });
    this.listen = make("button", { type: "button", onclick: () => void this.play() });
    this.send = make("button", { type: "button", onclick: () => void this.clone() });
    for (const range of [this.begin, this.end]) range.addEventListener("input", () => this.show());
  }

  /** @returns {HTMLElement} */
  build() {
    this.show();
    const row = (/** @type {HTMLInputElement} */ input, /** @type {string} */ name) =>
      make("div", { class: "field" }, make("label", { for: input.id }, t(name)), input);
    return make(
      "fieldset", {}, make("legend", {}, t("clone")), make("p", {}, t("cloneHint")),
      make("div", { class: "deeds field" }, this.record), row(this.file, "sampleFile"), row(this.begin, "sampleBegin"), row(this.end, "sampleEnd"),
      make("div", { class: "deeds field" }, this.listen, this.send), this.says,
    );
  }

  show() {
    const length_s = this.samples.length / RATE;
    this.begin.max = this.end.max = length_s.toFixed(1);
    const selected_s = Number(this.end.value) - Number(this.begin.value);
    const wrong = unfit(selected_s);
    this.record.textContent = t(this.stop ? "recordStop" : "record");
    this.listen.textContent = t(this.preview ? "previewStop" : "preview");
    this.send.textContent = t("cloneMake");
    this.listen.disabled = !(selected_s > 0);
    this.send.disabled = Boolean(wrong) || this.stop !== null || this.sending;
    if (length_s) this.says.textContent = wrong ? t(wrong) : t("sampleChosen", { s: selected_s.toFixed(1) });
  }

  /** @param {Float32Array<ArrayBuffer>} samples */
  have(samples) {
    this.samples = samples;
    this.show(); // the ranges take no value beyond their end
    this.begin.value = "0";
    this.end.value = String(Math.min(LONGEST_S, samples.length / RATE));
    this.show();
  }

  /** Nobody looks any more: nobody is recorded, and nothing sounds. */
  hush() {
    this.turn += 1;
    this.stop?.();
    this.preview?.stop();
  }

  async toggle() {
    if (this.stop) return this.stop();
    const turn = ++this.turn;
    try {
      const context = await openAudio();
      const stream = await askForMicrophone(this.microphone());
      if (turn === this.turn) await this.listenIn(context, stream);
      else stream.getTracks().forEach((track) => track.stop());
    } catch (error) {
      this.says.textContent = t(whyDenied(error));
    }
  }

  /** @param {AudioContext} context @param {MediaStream} stream */
  async listenIn(context, stream) {
    void context.resume();
    const source = context.createMediaStreamSource(stream);
    const worklet = new AudioWorkletNode(context, "antiphon-capture", { numberOfInputs: 1, numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    /** @type {Float32Array[]} */
    const pieces = [];
    this.stop = () => {
      worklet.port.onmessage = null;
      source.disconnect();
      stream.getTracks().forEach((track) => track.stop());
      this.stop = null;
      this.have(joined(pieces));
    };
    worklet.port.onmessage = (event) => {
      pieces.push(event.data.samples);
      const length_s = pieces.length / 50;
      this.says.textContent = t("recording", { s: Math.floor(length_s) });
      if (length_s >= LONGEST_S) this.stop?.();
    };
    stream.getTracks().forEach((track) => (track.onended = () => this.stop?.())); // it was unplugged
    source.connect(worklet);
    this.show();
  }

  /** A file, of any kind that this browser can play. */
  async take() {
    const file = this.file.files?.[0];
    if (!file) return;
    this.hush();
    const { turn } = this;
    try {
      if (file.size > MOST_BYTES) throw new RangeError("too large");
      const decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
      if (turn === this.turn) this.have(mixed(decoded));
    } catch {
      this.says.textContent = t("sampleUnreadable");
    }
  }

  get chosen() {
    return cut(this.samples, Number(this.begin.value), Number(this.end.value));
  }

  async play() {
    if (this.preview) return this.preview.stop();
    const context = await openAudio();
    await context.resume();
    const { chosen } = this;
    const buffer = new AudioBuffer({ length: chosen.length, sampleRate: RATE });
    buffer.copyToChannel(chosen, 0);
    this.preview = new AudioBufferSourceNode(context, { buffer });
    this.preview.onended = () => {
      this.preview = null;
      this.show();
    };
    this.preview.connect(context.destination);
    this.preview.start();
    this.show();
  }

  async clone() {
    this.sending = this.send.disabled = true;
    this.says.textContent = t("cloning");
    const { name, message } = await cloneVoice(wav(this.chosen), this.key());
    this.sending = this.send.disabled = false;
    this.says.textContent = name ? t("cloned") : message || t("away");
    if (name) this.made(name);
  }
}

/** All channels as one: a voice may be on any of them. @param {AudioBuffer} buffer */
function mixed(buffer) {
  const samples = buffer.getChannelData(0).slice();
  for (let channel = 1; channel < buffer.numberOfChannels; channel++) {
    buffer.getChannelData(channel).forEach((sample, at) => (samples[at] += sample));
  }
  return samples.map((sample) => sample / buffer.numberOfChannels);
}
