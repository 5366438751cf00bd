/** The loudspeaker's end in the audio thread: a jitter buffer that is filled by messages and heard block by block. */

import { JitterBuffer } from "./jitter_buffer.js";
import { Resampler } from "./resampler.js";
import { SoftEdges } from "./soft_edges.js";

/** Positions on the wire and in reports are in samples of this rate. */
const RATE = 24_000;

/** The page is told where we are after so many blocks: some 20 times a second. */
const REPORT_BLOCKS = 18;

/** What begins so near to the end of what was before follows it: places are told in rounded times. */
const SAME_MS = 2;

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.buffer = new JitterBuffer(sampleRate);
    this.edges = new SoftEdges(sampleRate);
    this.resampler = new Resampler(RATE, sampleRate);
    this.rate = RATE;
    /** Where in the reply the next sample belongs, at our rate. */
    this.next = 0;
    this.reply = 0;
    this.silent = true;
    this.hushed = false;
    this.blocks = 0;
    this.port.onmessage = (event) => this.take(event.data);
  }

  /** @param {{do: string, reply: number, at?: number, samples?: Float32Array, rate?: number}} told places in ms */
  take(told) {
    if (told.do === "begin") {
      this.reply = told.reply;
      this.buffer.begin();
      this.goOn(0);
      this.silent = true;
    }
    if (told.reply !== this.reply) return;
    if (told.do === "push" && told.samples) return this.push(told.samples, told.rate ?? RATE, told.at ?? NaN);
    if (told.do === "hold") {
      this.buffer.hold();
      this.hushed = true;
    }
    if (told.do === "release") {
      this.goOn(told.at ?? 0);
      this.buffer.release(this.next);
    }
    if (told.do === "end") return this.buffer.end();
    if (told.do === "stop") {
      this.buffer.stop();
      this.blocks = REPORT_BLOCKS;
    }
    this.edges.cut();
  }

  /** @param {number} at_ms */
  goOn(at_ms) {
    this.next = Math.round((at_ms * sampleRate) / 1000);
    this.resampler = new Resampler(this.rate, sampleRate);
  }

  /** @param {Float32Array} samples @param {number} rate @param {number} at_ms where in the reply they belong */
  push(samples, rate, at_ms) {
    if (rate !== this.rate) {
      this.rate = rate;
      this.resampler = new Resampler(rate, sampleRate);
    }
    if (Math.abs((this.next * 1000) / sampleRate - at_ms) > SAME_MS) this.goOn(at_ms);
    const ours = this.resampler.process(samples);
    this.buffer.push(this.next, ours);
    this.next += ours.length;
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, outputs) {
    const { buffer } = this;
    const { position, depth } = buffer;
    const output = outputs[0][0];
    const heard = buffer.pull(output);
    this.edges.soften(output, heard);
    if (this.hushed) this.report("held", position, depth);
    else if (heard && this.silent) this.report("sounds", position, depth);
    else if (!heard && !this.silent && buffer.over) this.report("silent", position, depth);
    else if (++this.blocks >= REPORT_BLOCKS) this.report("position", position, depth);
    if (heard) this.silent = false;
    else if (buffer.over) this.silent = true;
    this.hushed = false;
    return true;
  }

  /** @param {string} what @param {number} position @param {number} depth both when this block began */
  report(what, position, depth) {
    this.blocks = 0;
    const { underruns, target_ms, playing } = this.buffer;
    this.port.postMessage({
      what, reply: this.reply, at_s: currentTime, position: (position * RATE) / sampleRate, playing,
      depth_ms: (depth / sampleRate) * 1000, underruns, target_ms,
    });
  }
}

registerProcessor("antiphon-playback", Playback);
