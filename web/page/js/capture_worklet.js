/** The microphone's end in the audio thread: frames of 20 ms at 24 kHz, each with the time at which its last sample was there. */

import { Resampler } from "./resampler.js";

const RATE = 24_000;
const FRAME = RATE / 50;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.frame = new Float32Array(FRAME);
    this.filled = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const samples = this.resampler.process(inputs[0]?.[0] ?? new Float32Array(128));
    for (let at = 0; at < samples.length; ) {
      const count = Math.min(FRAME - this.filled, samples.length - at);
      this.frame.set(samples.subarray(at, at + count), this.filled);
      this.filled += count;
      at += count;
      if (this.filled === FRAME) this.send();
    }
    return true;
  }

  send() {
    this.port.postMessage({ samples: this.frame, at_s: currentTime }, [this.frame.buffer]);
    this.frame = new Float32Array(FRAME);
    this.filled = 0;
  }
}

registerProcessor("antiphon-capture", Capture);
