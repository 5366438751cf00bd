/**
 * Sound of one reply that came and was not heard yet. Pure: the playback worklet asks it for samples.
 *
 * Positions are samples of the reply, so that "play no further than this" and "it was heard up to here" mean the same
 * to the server and to us. It starts when enough is there, and wants more in hand after each time it ran dry.
 */

import { level } from "./loudness.js";

/** In hand before anything is heard, at first; what the server sends ahead is 160 ms. */
const FIRST_MS = 60;

/** More than this is never waited for: it would be heard as a delay. */
const MOST_MS = 200;

/** Added each time it runs dry. */
const STEP_MS = 30;

/** The server sends so much ahead. With more than that and our own in hand we are late, and catch up in pauses of the voice. */
const AHEAD_MS = 200;

/** Below this a block is a pause, root mean square: nobody hears that it is left out. */
const PAUSE = 0.002;

/** Nothing more is taken beyond this, whatever a server sends. */
const FULL_MS = 30_000;

export class JitterBuffer {
  /** @param {number} rate samples a second */
  constructor(rate) {
    this.rate = rate;
    this.target_ms = FIRST_MS;
    /** Times it ran dry in the middle of a reply. */
    this.underruns = 0;
    /** @type {{at: number, samples: Float32Array}[]} */
    this.pieces = [];
    /** How far it was heard. */
    this.position = 0;
    this.begin();
  }

  /** Another reply. */
  begin() {
    this.pieces = [];
    this.position = 0;
    this.playing = false;
    this.held = false;
    this.ended = false;
    this.dry = false;
  }

  /** Samples in hand. */
  get depth() {
    return this.pieces.reduce((sum, piece) => sum + piece.samples.length, 0);
  }

  /** Nothing more will be heard. */
  get over() {
    return this.ended && this.pieces.length === 0;
  }

  /**
   * @param {number} at where in the reply it begins
   * @param {Float32Array} samples
   */
  push(at, samples) {
    const late = Math.max(0, this.position - at);
    if (late >= samples.length || this.depth > this.ms(FULL_MS)) return;
    if (this.dry && !this.held) {
      this.underruns += 1;
      this.target_ms = Math.min(MOST_MS, this.target_ms + STEP_MS);
    }
    this.dry = false;
    this.pieces.push({ at: at + late, samples: samples.subarray(late) });
    this.pieces.sort((one, other) => one.at - other.at);
  }

  /** No more comes. */
  end() {
    this.ended = true;
  }

  /** Silence from now on; what is in hand is kept. */
  hold() {
    this.held = true;
    this.playing = false;
  }

  /** It goes on; from `at` on other samples will come. @param {number} at */
  release(at) {
    this.pieces = this.pieces
      .filter((piece) => piece.at < at)
      .map((piece) => ({ at: piece.at, samples: piece.samples.subarray(0, at - piece.at) }));
    this.position = Math.min(this.position, at);
    this.held = false;
    this.dry = false;
  }

  /**
   * Fills `output`; what is missing is silence.
   * @param {Float32Array} output
   * @returns {number} samples that were heard
   */
  pull(output) {
    output.fill(0);
    if (this.held) return 0;
    if (!this.playing) {
      if (!this.depth || (!this.ended && this.depth < this.ms(this.target_ms))) return 0;
      this.playing = true;
    }
    this.catchUp(output.length);
    let filled = 0;
    while (filled < output.length && this.pieces.length) {
      const piece = this.freshPart(this.pieces[0]);
      const count = Math.min(output.length - filled, piece.samples.length);
      output.set(piece.samples.subarray(0, count), filled);
      filled += count;
      this.position = piece.at + count;
      if (count === piece.samples.length) this.pieces.shift();
      else this.pieces[0] = { at: piece.at + count, samples: piece.samples.subarray(count) };
    }
    if (filled < output.length) {
      this.playing = false;
      this.dry = !this.ended;
    }
    return filled;
  }

  /** Leaves out a block, if it is silent and too much waits behind it. @param {number} count */
  catchUp(count) {
    const piece = this.pieces[0];
    if (piece.samples.length <= count || this.depth < this.ms(this.target_ms + AHEAD_MS)) return;
    if (level(piece.samples.subarray(0, count)) > PAUSE) return;
    this.pieces[0] = { at: piece.at + count, samples: piece.samples.subarray(count) };
  }

  /**
   * What of it was not heard yet: some may have come twice.
   * @param {{at: number, samples: Float32Array}} piece
   */
  freshPart(piece) {
    const heard = Math.min(piece.samples.length, Math.max(0, this.position - piece.at));
    return heard ? { at: piece.at + heard, samples: piece.samples.subarray(heard) } : piece;
  }

  /** @param {number} ms */
  ms(ms) {
    return Math.round((ms * this.rate) / 1000);
  }
}
