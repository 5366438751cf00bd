/** Changes the rate of a stream of samples, by a windowed sinc. Pure: it runs in worklets and in tests. */

/** Zero crossings on each side of a sample: 16 keep speech clean and delay it by less than a millisecond. */
const CROSSINGS = 16;

/** Points of the kernel between two crossings. */
const POINTS = 128;

/** Of half the lower rate, so much is kept; the rest is for the slope of the filter. */
const KEPT = 0.92;

const KERNEL = kernel();

function kernel() {
  const values = new Float32Array(CROSSINGS * POINTS + 2);
  for (let at = 0; at <= CROSSINGS * POINTS; at++) {
    const x = at / POINTS;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
    const window = 0.5 + 0.5 * Math.cos((Math.PI * x) / CROSSINGS);
    values[at] = sinc * window;
  }
  return values;
}

export class Resampler {
  /** @param {number} from Hz @param {number} to Hz */
  constructor(from, to) {
    this.step = from / to;
    /** The filter is as wide as the lower of the two rates wants it. */
    this.squeeze = Math.min(1, to / from) * (from === to ? 1 : KEPT);
    this.reach = Math.ceil(CROSSINGS / this.squeeze);
    /** @type {Float32Array} samples not used up yet */
    this.kept = new Float32Array(from === to ? 0 : this.reach);
    /** Where the next sample is taken, in `kept`. */
    this.at = this.reach;
  }

  /**
   * @param {Float32Array} samples
   * @returns {Float32Array}
   */
  process(samples) {
    if (this.step === 1) return samples;
    const input = new Float32Array(this.kept.length + samples.length);
    input.set(this.kept);
    input.set(samples, this.kept.length);
    const output = [];
    for (; this.at + this.reach < input.length; this.at += this.step) output.push(this.taken(input));
    const used = Math.max(0, Math.floor(this.at) - this.reach);
    this.kept = input.slice(used);
    this.at -= used;
    return Float32Array.from(output);
  }

  /** @param {Float32Array} input */
  taken(input) {
    const last = Math.floor(this.at) + this.reach;
    let sum = 0;
    for (let at = Math.max(0, Math.ceil(this.at) - this.reach); at <= last; at++) {
      const place = Math.abs(at - this.at) * this.squeeze * POINTS;
      const before = Math.floor(place);
      if (before >= CROSSINGS * POINTS) continue;
      const weight = KERNEL[before] + (KERNEL[before + 1] - KERNEL[before]) * (place - before);
      sum += input[at] * weight;
    }
    return sum * this.squeeze;
  }
}
