/** Opus by WebCodecs, packet by packet; where the browser has none, `isThere` says so and pcm16 travels instead. */

export const RATE = 24_000;

/** Packets of 20 ms; 32 kbit/s leave nothing to be wished for in speech of one voice. */
const ENCODING = /** @type {AudioEncoderConfig} */ ({
  codec: "opus", sampleRate: RATE, numberOfChannels: 1, bitrate: 32_000,
  opus: { frameDuration: 20_000, application: "voip", complexity: 5 },
});

const DECODING = /** @type {AudioDecoderConfig} */ ({ codec: "opus", sampleRate: RATE, numberOfChannels: 1 });

/** Silence that is coded and decoded to see whether it can be done. */
const TRIED_FRAMES = 5;

/** It takes milliseconds; a browser that needs longer shall do without. */
const TRIED_MS = 1_500;

/** An encoder that failed is made anew, but no sooner than after so many frames: a second. */
const FAILED_FRAMES = 50;

export const PACKET_MS = 20;

/** @type {Promise<boolean>|null} */
let there = null;

/** Both directions work here; tried once. @returns {Promise<boolean>} */
export function isThere() {
  there ??= works().catch(() => false);
  return there;
}

/** Not only what the browser says of itself counts: packets of 20 ms must come out of it, and sound of them. */
async function works() {
  if (typeof AudioEncoder === "undefined" || typeof AudioDecoder === "undefined") return false; // Safari before 26
  const [out, back] = await Promise.all([AudioEncoder.isConfigSupported(ENCODING), AudioDecoder.isConfigSupported(DECODING)]);
  if (!out.supported || !back.supported) return false;
  return Promise.race([tried(), new Promise((tell) => setTimeout(() => tell(false), TRIED_MS))]);
}

/** @returns {Promise<boolean>} */
async function tried() {
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const packets = [];
  let sound_s = 0;
  const encoder = new OpusEncoder((packet) => packets.push(packet));
  const decoder = new OpusDecoder((samples, rate) => (sound_s += samples.length / rate));
  try {
    for (let frame = 0; frame < TRIED_FRAMES; frame += 1) encoder.encode(new Float32Array(RATE / 50), 0);
    await encoder.encoder.flush();
    packets.forEach((packet, at) => decoder.decode(packet, at * PACKET_MS));
    await decoder.decoder.flush();
  } finally {
    encoder.close();
    decoder.close();
  }
  return packets.length >= TRIED_FRAMES - 1 && packets.every(lasts20ms) && sound_s >= (TRIED_FRAMES - 2) / 50;
}

/** By its first byte: one frame, of 20 ms (RFC 6716, 3.1). @param {Uint8Array} packet */
export function lasts20ms(packet) {
  const config = packet[0] >> 3;
  const twenty = config < 12 ? config % 4 === 1 : config < 16 ? config % 2 === 1 : config % 4 === 3;
  return (packet[0] & 3) === 0 && twenty;
}

export class OpusEncoder {
  /** @param {(packet: Uint8Array<ArrayBuffer>, at_s: number) => void} give */
  constructor(give) {
    this.count = 0;
    /** @type {number[]} when the frames were captured whose packets are still to come */
    this.times = [];
    this.give = give;
    /** Frames since it failed. */
    this.failed = 0;
    this.encoder = this.fresh();
  }

  fresh() {
    this.times = [];
    this.failed = 0;
    const encoder = new AudioEncoder({
      output: (chunk) => {
        const packet = new Uint8Array(chunk.byteLength);
        chunk.copyTo(packet);
        this.give(packet, this.times.shift() ?? NaN);
      },
      error: (error) => console.warn("antiphon: the Opus encoder failed", error),
    });
    encoder.configure(ENCODING);
    return encoder;
  }

  /** @param {Float32Array<ArrayBuffer>} samples 20 ms @param {number} at_s */
  encode(samples, at_s) {
    if (this.encoder.state !== "configured") {
      if (++this.failed < FAILED_FRAMES) return; // or the browser took it back, as it may from a page that nobody sees
      this.encoder = this.fresh();
    }
    const timestamp = Math.round((this.count * 1e6) / RATE);
    this.count += samples.length;
    this.times.push(at_s);
    const frame = { timestamp, data: samples, sampleRate: RATE, numberOfChannels: 1, numberOfFrames: samples.length };
    const data = new AudioData({ ...frame, format: "f32" });
    this.encoder.encode(data);
    data.close();
  }

  close() {
    if (this.encoder.state !== "closed") this.encoder.close();
  }
}

/** So often a decoder is made anew while what it holds is waited for: more bad packets than that are no sound. */
const MOST_FAILURES = 50;

export class OpusDecoder {
  /** @param {(samples: Float32Array<ArrayBuffer>, rate: number, at_ms: number) => void} give */
  constructor(give) {
    this.give = give;
    /** @type {EncodedAudioChunk[]} not decoded yet */
    this.waiting = [];
    this.decoder = this.fresh();
  }

  fresh() {
    const decoder = new AudioDecoder({
      output: (data) => (decoder === this.decoder ? this.decoded(data) : data.close()),
      error: (error) => this.failed(decoder, error),
    });
    decoder.configure(DECODING);
    return decoder;
  }

  /** @param {AudioData} data */
  decoded(data) {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    const { sampleRate, timestamp } = data;
    data.close();
    const packet = this.waiting.shift(); // decoders count on from their first packet, whatever time the others bear
    this.give(samples, sampleRate, (packet?.timestamp ?? timestamp) / 1000);
  }

  /** It fails for good on one bad packet: another one goes on behind that. @param {AudioDecoder} decoder @param {DOMException} error */
  failed(decoder, error) {
    console.warn("antiphon: an Opus packet could not be decoded", error);
    if (decoder !== this.decoder) return;
    this.waiting.shift();
    this.decoder = this.fresh();
    for (const chunk of this.waiting) this.decoder.decode(chunk);
  }

  /** @param {Uint8Array<ArrayBuffer>} packet @param {number} at_ms where in the reply it belongs */
  decode(packet, at_ms) {
    const chunk = new EncodedAudioChunk({ type: "key", timestamp: Math.round(at_ms * 1000), data: packet });
    this.waiting.push(chunk);
    if (this.decoder.state === "configured") this.decoder.decode(chunk); // else it failed just now, and another will do it
  }

  /** What is not decoded yet never will be. */
  forget() {
    if (this.waiting.length) {
      this.close(); // what it is about to give has no place any more
      this.decoder = this.fresh();
    } else if (this.decoder.state === "configured") {
      this.decoder.reset();
      this.decoder.configure(DECODING);
    }
  }

  /** All that it was given is decoded, or was forgotten. */
  async drained() {
    for (let tries = 0; this.waiting.length && tries < MOST_FAILURES; tries++) {
      const { decoder } = this;
      await decoder.flush().catch(() => new Promise((resolve) => setTimeout(resolve)));
      if (decoder === this.decoder) return; // else it failed, and another one goes on
    }
  }

  close() {
    const { decoder } = this;
    this.waiting = [];
    if (decoder.state !== "closed") decoder.close();
  }
}
