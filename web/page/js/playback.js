/** The loudspeaker: one reply at a time, decoded, buffered in the audio thread, held and let go as the server says. */

import { fromPcm16 } from "./audio_bytes.js";
import { OpusDecoder, PACKET_MS, RATE } from "./opus.js";
import { EDGE_MS } from "./soft_edges.js";

/** Places are told in whole milliseconds. */
const SAME_MS = 5;

/**
 * @typedef {object} Report
 * @property {"sounds"|"silent"|"held"|"position"} what
 * @property {number} reply
 * @property {number} at_s
 * @property {number} position samples of the reply at 24 kHz, at that time
 * @property {boolean} playing it goes on from there
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
    this.last = { what: "position", reply: 0, at_s: 0, position: 0, playing: false, depth_ms: 0, underruns: 0, target_ms: 0 };
    /** Where in the reply the next piece belongs. */
    this.next_ms = 0;
    /** When it was told to be silent, by the context's clock. */
    this.held_s = NaN;
    this.decoder = opus ? new OpusDecoder((samples, rate, at_ms) => this.pushed(samples, rate, at_ms)) : null;
    this.worklet = new AudioWorkletNode(context, "antiphon-playback", {
      numberOfInputs: 0, numberOfOutputs: 1, outputChannelCount: [1],
    });
    this.worklet.onprocessorerror = () => console.error("antiphon: the loudspeaker's worklet failed");
    this.gain = new GainNode(context);
    this.meter = new AnalyserNode(context, { fftSize: 512, smoothingTimeConstant: 0.6 });
    this.worklet.connect(this.meter).connect(this.gain).connect(context.destination);
    this.worklet.port.onmessage = (event) => {
      if (event.data.reply !== this.number) return;
      this.last = this.since(event.data);
      report(event.data);
    };
  }

  /** Of one that stands still it counts since when. @param {Report} report @returns {Report} */
  since(report) {
    const stands = !report.playing && !this.last.playing && report.position === this.last.position;
    return stands ? { ...report, at_s: this.last.at_s } : report;
  }

  /** Another reply; what was left of the one before is not heard. */
  begin() {
    this.number += 1;
    this.last = { ...this.last, position: 0, playing: false, reply: this.number };
    this.goOn(0);
    this.tell({ do: "begin" });
  }

  /** @param {Uint8Array<ArrayBuffer>[]} packets of Opus, or pieces of pcm16 @param {number} [at_ms] where they belong; NaN: nobody said */
  push(packets, at_ms = NaN) {
    if (Math.abs(at_ms - this.next_ms) > SAME_MS) this.next_ms = at_ms; // what was between was not understood
    for (const packet of packets) {
      if (this.decoder) {
        this.decoder.decode(packet, this.next_ms);
        this.next_ms += PACKET_MS;
      } else this.pcm(fromPcm16(packet));
    }
  }

  /** @param {Float32Array<ArrayBuffer>} samples */
  pcm(samples) {
    const length_ms = (samples.length * 1000) / RATE;
    this.pushed(samples, RATE, this.next_ms);
    this.next_ms += length_ms;
  }

  /** @param {Float32Array<ArrayBuffer>} samples @param {number} rate @param {number} at_ms where in the reply they belong */
  pushed(samples, rate, at_ms) {
    this.worklet.port.postMessage({ do: "push", reply: this.number, samples, rate, at: at_ms }, [samples.buffer]);
  }

  /** What comes now belongs there. @param {number} at_ms */
  goOn(at_ms) {
    this.next_ms = at_ms;
    this.decoder?.forget();
  }

  /** Silent at once; it may go on. */
  hold() {
    this.held_s = this.context.currentTime;
    this.tell({ do: "hold" });
  }

  /** It goes on; what comes now begins there. @param {number} at_ms */
  release(at_ms) {
    this.goOn(at_ms);
    this.tell({ do: "release", at: at_ms });
  }

  /** All of it came. */
  async end() {
    const number = this.number;
    await this.decoder?.drained();
    if (number === this.number) this.tell({ do: "end" });
  }

  /** Silent at once, for good. */
  stop() {
    this.goOn(0);
    this.tell({ do: "stop" });
  }

  /** How much of the reply left the loudspeaker, in ms: what was last reported, and what followed since. */
  get heardMs() {
    const { at_s, position, playing, depth_ms } = this.last;
    const late_s = this.context.outputLatency || this.context.baseLatency || 0;
    const since_ms = (this.context.currentTime - late_s - at_s) * 1000;
    return Math.max(0, Math.round((position * 1000) / RATE + Math.min(playing ? depth_ms : 0, since_ms)));
  }

  /** From the word to be silent until there was no sound, in the audio thread; its edge is soft. @param {Report} report of that */
  muteMs(report) {
    return (report.at_s - this.held_s) * 1000 + EDGE_MS;
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
