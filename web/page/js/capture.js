/** The microphone: opened with echo cancellation, given as packets of 20 ms, and watched for being unplugged or silent. */

import { toPcm16 } from "./audio_bytes.js";
import { level } from "./loudness.js";
import { OpusEncoder } from "./opus.js";

/** Below this nothing but a switched-off microphone is: its own noise is louder. */
const DEAD_LEVEL = 1e-5;

/** So many frames of that in a row are said to the user: 10 s, for noise suppression may make silence of a quiet room. */
const DEAD_FRAMES = 500;

/**
 * @typedef {object} Ears
 * @property {(packet: Uint8Array<ArrayBuffer>, at_s: number) => void} packet
 * @property {(reason: "unplugged"|"silent"|"audible") => void} changed
 */

/** Why a microphone could not be had: a key of strings.js. @param {unknown} error */
export function whyDenied(error) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return "micDenied";
  if (name === "NotFoundError" || name === "OverconstrainedError") return "micMissing";
  if (name === "NotReadableError" || name === "AbortError") return "micBusy";
  return navigator.mediaDevices ? "micFailed" : "insecure";
}

/** Asks the user. @param {string} device empty: the system's @returns {Promise<MediaStream>} */
export async function askForMicrophone(device) {
  return navigator.mediaDevices.getUserMedia({
    audio: {
      echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1,
      ...(device ? { deviceId: { ideal: device } } : {}),
    },
  });
}

/** Nobody listens to it any more. @param {MediaStream|null} stream */
export function stop(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}

export class Microphone {
  /**
   * @param {AudioContext} context its worklet module is loaded
   * @param {MediaStream} stream
   * @param {boolean} opus
   * @param {Ears} ears
   */
  constructor(context, stream, opus, ears) {
    this.stream = stream;
    this.ears = ears;
    /** Silence is sent instead of what is heard. */
    this.closed = false;
    this.dead = 0;
    this.encoder = opus ? new OpusEncoder(ears.packet) : null;
    this.source = context.createMediaStreamSource(stream);
    this.meter = new AnalyserNode(context, { fftSize: 512, smoothingTimeConstant: 0.6 });
    this.worklet = new AudioWorkletNode(context, "antiphon-capture", {
      numberOfInputs: 1, numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit",
    });
    this.worklet.port.onmessage = (event) => this.heard(event.data.samples, event.data.at_s);
    this.worklet.onprocessorerror = () => console.error("antiphon: the microphone's worklet failed");
    this.source.connect(this.meter);
    this.source.connect(this.worklet);
    for (const track of stream.getAudioTracks()) {
      track.onended = () => ears.changed("unplugged");
      track.onmute = () => ears.changed("silent");
      track.onunmute = () => ears.changed("audible");
    }
  }

  /** @param {Float32Array<ArrayBuffer>} samples @param {number} at_s */
  heard(samples, at_s) {
    this.watch(samples);
    if (this.closed) samples.fill(0);
    if (this.encoder) this.encoder.encode(samples, at_s);
    else this.ears.packet(toPcm16(samples), at_s);
  }

  /** @param {Float32Array} samples */
  watch(samples) {
    const dead = level(samples) < DEAD_LEVEL;
    if (!dead && this.dead >= DEAD_FRAMES) this.ears.changed("audible");
    this.dead = dead ? this.dead + 1 : 0;
    if (this.dead === DEAD_FRAMES) this.ears.changed("silent");
  }

  close() {
    this.worklet.port.onmessage = null;
    this.source.disconnect();
    for (const track of this.stream.getTracks()) {
      track.onended = track.onmute = track.onunmute = null;
      track.stop();
    }
    this.encoder?.close();
  }
}
