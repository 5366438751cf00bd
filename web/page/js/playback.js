/** The loudspeaker: one reply at a time, decoded, buffered in the audio thread, held and let go as the server says. */

import { fromPcm16 } from "./audio_bytes.js";
import { OpusDecoder, RATE } from "./opus.js";

/**
 * @typedef {object} Report
 * @property {"sounds"|"silent"|"position"} what
 * @property {number} reply
 * @property {number} at_s
 * @property {number} position samples of the reply at 24 kHz
 * @property {number} depth_ms
 * @property {number} underruns
 * @property {number} target_ms
 */

export class Player {
  /**
   * @param {AudioContext} context its worklet module is loaded
   * @param {boolean} opus
   * @param {(report: Report) => void} report
   */
  constructor(context, opus, report) {
    this.context = context;
    this.number = 0;
    /** @type {Report} */
    this.last = { what: "position", reply: 0, at_s: 0, position: 0, depth_ms: 0, underruns: 0, target_ms: 0 };
    this.decoder = opus ? new OpusDecoder((samples, rate) => this.pushed(samples, rate)) : null;
    this.worklet = new AudioWorkletNode(context, "antiphon-playback", {
      numberOfInputs: 0, numberOfOutputs: 1, outputChannelCount: [1],
    });
    this.worklet.onprocessorerror = () => console.error("antiphon: the loudspeaker's worklet failed");
    this.gain = new GainNode(context);
    this.meter = new AnalyserNode(context, { fftSize: 512, smoothingTimeConstant: 0.6 });
    this.worklet.connect(this.meter).connect(this.gain).connect(context.destination);
    this.worklet.port.onmessage = (event) => {
      if (event.data.reply !== this.number) return;
      this.last = event.data;
      report(event.data);
    };
  }

  /** Another reply; what was left of the one before is not heard. */
  begin() {
    this.number += 1;
    this.last = { ...this.last, position: 0, reply: this.number };
    this.decoder?.forget();
    this.tell({ do: "begin" });
  }

  /** @param {Uint8Array<ArrayBuffer>[]} packets of Opus, or pieces of pcm16 */
  push(packets) {
    for (const packet of packets) {
      if (this.decoder) this.decoder.decode(packet);
      else this.pushed(fromPcm16(packet), RATE);
    }
  }

  /** @param {Float32Array<ArrayBuffer>} samples @param {number} rate */
  pushed(samples, rate) {
    this.worklet.port.postMessage({ do: "push", reply: this.number, samples, rate }, [samples.buffer]);
  }

  /** Silent at once; it may go on. */
  hold() {
    this.tell({ do: "hold" });
  }

  /** It goes on; what comes now begins there. @param {number} at_ms */
  release(at_ms) {
    this.decoder?.forget();
    this.tell({ do: "release", at: (at_ms * RATE) / 1000 });
  }

  /** All of it came. */
  async end() {
    const number = this.number;
    await this.decoder?.decoder.flush().catch(() => undefined); // forgotten meanwhile: nothing is left to wait for
    if (number === this.number) this.tell({ do: "end" });
  }

  /** Silent at once, for good. */
  stop() {
    this.decoder?.forget();
    this.tell({ do: "stop" });
  }

  /** How much of the reply left the loudspeaker, in ms. */
  get heardMs() {
    const late = (this.context.outputLatency || this.context.baseLatency || 0) * 1000;
    return Math.max(0, Math.round((this.last.position * 1000) / RATE - late));
  }

  /** @param {number} volume from 0 to 1 */
  set volume(volume) {
    this.gain.gain.setTargetAtTime(volume, this.context.currentTime, 0.02);
  }

  close() {
    this.worklet.port.onmessage = null;
    this.worklet.disconnect();
    this.decoder?.close();
  }

  /** @param {{do: string, at?: number}} what */
  tell(what) {
    this.worklet.port.postMessage({ ...what, reply: this.number });
  }
}
