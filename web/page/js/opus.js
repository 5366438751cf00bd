/** Opus by WebCodecs, packet by packet; where the browser has none, `isThere` says so and pcm16 travels instead. */

export const RATE = 24_000;

/** Packets of 20 ms; 32 kbit/s leave nothing to be wished for in speech of one voice. */
const ENCODING = /** @type {AudioEncoderConfig} */ ({
  codec: "opus", sampleRate: RATE, numberOfChannels: 1, bitrate: 32_000,
  opus: { frameDuration: 20_000, application: "voip", complexity: 5 },
});

const DECODING = /** @type {AudioDecoderConfig} */ ({ codec: "opus", sampleRate: RATE, numberOfChannels: 1 });

/** Both directions work here. @returns {Promise<boolean>} */
export async function isThere() {
  try {
    const [out, back] = await Promise.all([
      AudioEncoder.isConfigSupported(ENCODING),
      AudioDecoder.isConfigSupported(DECODING),
    ]);
    return Boolean(out.supported && back.supported);
  } catch {
    return false;
  }
}

export class OpusEncoder {
  /** @param {(packet: Uint8Array<ArrayBuffer>, at_s: number) => void} give */
  constructor(give) {
    this.count = 0;
    /** @type {number[]} when the frames were captured whose packets are still to come */
    this.times = [];
    this.encoder = new AudioEncoder({
      output: (chunk) => {
        const packet = new Uint8Array(chunk.byteLength);
        chunk.copyTo(packet);
        give(packet, this.times.shift() ?? NaN);
      },
      error: (error) => console.warn("antiphon: the Opus encoder failed", error),
    });
    this.encoder.configure(ENCODING);
  }

  /** @param {Float32Array<ArrayBuffer>} samples 20 ms @param {number} at_s */
  encode(samples, at_s) {
    if (this.encoder.state !== "configured") return;
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

export class OpusDecoder {
  /** @param {(samples: Float32Array<ArrayBuffer>, rate: number) => void} give */
  constructor(give) {
    this.give = give;
    this.at_us = 0;
    this.decoder = this.fresh();
  }

  fresh() {
    const decoder = new AudioDecoder({
      output: (data) => {
        const samples = new Float32Array(data.numberOfFrames);
        data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
        const rate = data.sampleRate;
        data.close();
        this.give(samples, rate);
      },
      error: (error) => console.warn("antiphon: an Opus packet could not be decoded", error),
    });
    decoder.configure(DECODING);
    return decoder;
  }

  /** @param {Uint8Array<ArrayBuffer>} packet */
  decode(packet) {
    if (this.decoder.state === "closed") this.decoder = this.fresh(); // it fails for good on one bad packet
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: this.at_us, data: packet }));
    this.at_us += 20_000;
  }

  /** What is not decoded yet never will be. */
  forget() {
    if (this.decoder.state === "closed") return;
    this.decoder.reset();
    this.decoder.configure(DECODING);
  }

  close() {
    if (this.decoder.state !== "closed") this.decoder.close();
  }
}
