/** The loudspeaker's end in the audio thread: a jitter buffer that is filled by messages and heard block by block. */

import { JitterBuffer } from "./jitter_buffer.js";
import { Resampler } from "./resampler.js";

/** Positions on the wire and in messages are in samples of this rate. */
const RATE = 24_000;

/** The page is told where we are after so many blocks: some 20 times a second. */
const REPORT_BLOCKS = 18;

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.buffer = new JitterBuffer(sampleRate);
    this.scale = sampleRate / RATE;
    this.resampler = new Resampler(RATE, sampleRate);
    this.rate = RATE;
    /** Where in the reply the next sample belongs, at our rate. */
    this.next = 0;
    this.reply = 0;
    this.silent = true;
    this.blocks = 0;
    this.port.onmessage = (event) => this.take(event.data);
  }

  /** @param {{do: string, reply: number, at?: number, samples?: Float32Array, rate?: number}} told */
  take(told) {
    if (told.do === "begin") {
      this.reply = told.reply;
      this.buffer.begin();
      this.goOn(0);
      this.silent = true;
    }
    if (told.reply !== this.reply) return;
    if (told.do === "push" && told.samples) this.push(told.samples, told.rate ?? RATE);
    if (told.do === "hold") this.buffer.hold();
    if (told.do === "release") {
      this.goOn(told.at ?? 0);
      this.buffer.release(this.next);
    }
    if (told.do === "end") this.buffer.end();
    if (told.do === "stop") {
      this.buffer.begin();
      this.buffer.end();
    }
  }

  /** @param {number} at */
  goOn(at) {
    this.next = Math.round(at * this.scale);
    this.resampler = new Resampler(this.rate, sampleRate);
  }

  /** @param {Float32Array} samples @param {number} rate */
  push(samples, rate) {
    if (rate !== this.rate) {
      this.rate = rate;
      this.resampler = new Resampler(rate, sampleRate);
    }
    const ours = this.resampler.process(samples);
    this.buffer.push(this.next, ours);
    this.next += ours.length;
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, outputs) {
    const [first, ...others] = outputs[0];
    const heard = this.buffer.pull(first);
    for (const other of others) other.set(first);
    if (heard && this.silent) this.report("sounds");
    else if (!heard && !this.silent && this.buffer.over) this.report("silent");
    else if (++this.blocks >= REPORT_BLOCKS) this.report("position");
    if (heard) this.silent = false;
    else if (this.buffer.over) this.silent = true;
    return true;
  }

  /** @param {string} what */
  report(what) {
    this.blocks = 0;
    const { underruns, target_ms, depth, position } = this.buffer;
    this.port.postMessage({
      what, reply: this.reply, at_s: currentTime, position: position / this.scale,
      depth_ms: (depth / sampleRate) * 1000, underruns, target_ms,
    });
  }
}

registerProcessor("antiphon-playback", Playback);
