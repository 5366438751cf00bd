/**
 * Soft edges: sound that stops or begins in its middle does so without a click. Pure: it runs in the audio thread.
 *
 * Nobody knows beforehand that a sound will stop. So what was just heard is heard once more, backwards and softer and
 * softer: it goes on from the last sample without a step, and says nothing that was not said.
 */

/** Long enough that nobody hears a click, a quarter of a packet. */
export const EDGE_MS = 5;

export class SoftEdges {
  /** @param {number} rate samples a second */
  constructor(rate) {
    this.length = Math.round((EDGE_MS * rate) / 1000);
    /** The newest samples that were heard, in a ring. */
    this.past = new Float32Array(this.length);
    this.at = 0;
    this.tail = new Float32Array(this.length);
    /** How far the tail was heard. */
    this.fallen = this.length;
    /** How far the beginning is. */
    this.risen = 0;
    this.sounds = false;
  }

  /** What comes next does not follow what was before. */
  cut() {
    if (!this.sounds) return;
    this.sounds = false;
    for (let n = 0; n < this.length; n++) {
      this.tail[n] = this.past[(this.at - 1 - n + this.length) % this.length] * (1 - (n + 1) / this.length);
    }
    this.fallen = this.risen = 0;
  }

  /** @param {Float32Array} block of sound at first, then of silence @param {number} heard how many samples are sound */
  soften(block, heard) {
    for (let n = 0; n < heard; n++) {
      if (this.risen < this.length) block[n] *= ++this.risen / this.length;
      if (this.fallen < this.length) block[n] += this.tail[this.fallen++];
      this.past[this.at] = block[n];
      this.at = (this.at + 1) % this.length;
    }
    if (heard) this.sounds = true;
    if (heard === block.length) return;
    this.cut();
    for (let n = heard; n < block.length && this.fallen < this.length; n++) block[n] += this.tail[this.fallen++];
  }
}
