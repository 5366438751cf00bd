/**
 * Sound of one reply that came and was not heard yet. Pure: the playback worklet asks it for samples.
 *
 * Positions are samples of the reply, so that "play no further than this" and "it was heard up to here" mean the same
 * to the server and to us. It starts when enough is there, and wants more in hand after each time it ran dry. What
 * never came is heard as silence of its length, so that all that follows keeps its place.
 */

/** In hand before anything is heard, at first; what the server sends ahead is 160 ms. */
const FIRST_MS = 60;

/** More than this is never waited for: it would be heard as a delay. */
const MOST_MS = 200;

/** Added each time it runs dry: after three times no jitter matters that still allows a conversation. */
const STEP_MS = 50;

/** Taken back after each reply that did not: a network has bad minutes, and a call lasts hours. */
const EASE_MS = 10;

/** The server sends so much ahead. With more than that and our own in hand we are late, and catch up in pauses of the voice. */
const AHEAD_MS = 200;

/** Below this a block is a pause, root mean square: nobody hears that it is left out. */
const PAUSE = 0.002;

/** Nothing more is taken beyond this, whatever a server sends. */
const FULL_MS = 30_000;

/** Nobody waits longer than this for what is missing. */
const GAP_MS = 1_000;

export class JitterBuffer {
  /** @param {number} rate samples a second */
  constructor(rate) {
    this.rate = rate;
    this.target_ms = FIRST_MS;
    /** Times it ran dry in the middle of a reply. */
    this.underruns = 0;
    this.calm = false;
    /** @type {{at: number, samples: Float32Array}[]} by their places */
    this.pieces = [];
    /** How far it was heard. */
    this.position = 0;
    /** How far it came. */
    this.until = 0;
    this.begin();
  }

  /** Another reply. */
  begin() {
    if (this.calm) this.target_ms = Math.max(FIRST_MS, this.target_ms - EASE_MS);
    this.pieces = [];
    this.position = this.until = 0;
    this.playing = false;
    this.held = false;
    this.ended = false;
    this.dry = false;
    this.calm = false;
    this.stopped = false;
  }

  /** Silence for good: what is on its way comes too late. How far it was heard is still known. */
  stop() {
    this.pieces = [];
    this.until = this.position;
    this.playing = false;
    this.ended = this.stopped = true;
  }

  /** Samples in hand. */
  get depth() {
    return Math.max(0, this.until - this.position);
  }

  /** Nothing more will be heard. */
  get over() {
    return this.ended && this.depth === 0;
  }

  /**
   * @param {number} at where in the reply it begins
   * @param {Float32Array} samples
   */
  push(at, samples) {
    const end = at + samples.length;
    if (this.stopped || end <= this.position || this.depth > this.ms(FULL_MS)) return;
    if (this.dry && !this.held) {
      this.underruns += 1;
      this.target_ms = Math.min(MOST_MS, this.target_ms + STEP_MS);
      this.calm = false;
    }
    this.dry = false;
    let place = this.pieces.length;
    while (place > 0 && this.pieces[place - 1].at > at) place--;
    this.pieces.splice(place, 0, { at, samples });
    this.until = Math.max(this.until, end);
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
    this.until = this.pieces.reduce((until, piece) => Math.max(until, piece.at + piece.samples.length), 0);
    if (this.until <= this.position) this.position = at;
    this.held = false;
    this.dry = false;
  }

  /**
   * Fills `output`; what is missing is silence, at its end.
   * @param {Float32Array} output
   * @returns {number} samples that were heard
   */
  pull(output) {
    output.fill(0);
    if (this.held || !this.ready()) return 0;
    this.catchUp(output.length);
    let filled = 0;
    while (filled < output.length) {
      const piece = this.head();
      if (!piece) {
        this.playing = false;
        this.dry = !this.ended;
        break;
      }
      if (piece.at > this.position) {
        this.pass(piece.at, output.length - filled);
        break;
      }
      filled += this.copy(piece, output, filled);
    }
    return filled;
  }

  /** Enough is in hand to begin, or it goes on. */
  ready() {
    if (this.playing) return true;
    this.playing = this.depth > 0 && (this.ended || this.depth >= this.ms(this.target_ms));
    if (this.playing && this.position === 0) this.calm = true;
    return this.playing;
  }

  /** The piece that is heard now; those that were are dropped. */
  head() {
    while (this.pieces.length && this.pieces[0].at + this.pieces[0].samples.length <= this.position) this.pieces.shift();
    return this.pieces[0];
  }

  /**
   * @param {{at: number, samples: Float32Array}} piece @param {Float32Array} output @param {number} filled
   * @returns {number} how much of it went there
   */
  copy({ at, samples }, output, filled) {
    const from = this.position - at;
    const count = Math.min(output.length - filled, samples.length - from);
    for (let n = 0; n < count; n++) output[filled + n] = samples[from + n];
    this.position += count;
    return count;
  }

  /** Lets time pass for what never came. @param {number} to where there is something again @param {number} count samples of silence */
  pass(to, count) {
    const far = to - this.position > this.ms(GAP_MS);
    this.position = far ? to : Math.min(to, this.position + count);
  }

  /** Leaves out a block, if it is silent and too much waits behind it. @param {number} count */
  catchUp(count) {
    if (this.depth < this.ms(this.target_ms + AHEAD_MS)) return;
    const piece = this.head();
    const from = piece ? this.position - piece.at : -1;
    if (from < 0 || piece.samples.length - from < count) return;
    let power = 0;
    for (let n = from; n < from + count; n++) power += piece.samples[n] * piece.samples[n];
    if (power <= PAUSE * PAUSE * count) this.position += count;
  }

  /** @param {number} ms */
  ms(ms) {
    return Math.round((ms * this.rate) / 1000);
  }
}
