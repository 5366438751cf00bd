/**
 * Changes the rate of a stream of samples, by a windowed sinc. Pure: it runs in worklets and in tests.
 *
 * The filter is worked out once for each place between two samples that the two rates have in common, and kept: in the
 * audio thread a sample costs some forty multiplications, and a block one allocation.
 */

/** Zero crossings on each side of a sample: 16 keep speech clean and delay it by less than a millisecond. */
const CROSSINGS = 16;

/** Of half the lower rate, so much is kept; the rest is for the slope of the filter. */
const KEPT = 0.92;

/** Places between two samples; 147 are enough from 48 to 44.1 kHz. Of odd rates the nearest place is taken. */
const MOST_PLACES = 1024;

/**
 * @typedef {object} Filter
 * @property {number} places
 * @property {number} reach samples on each side
 * @property {Float32Array} weights of each place, one after the other
 */

/** @type {Map<string, Filter>} a page knows three or four */
const FILTERS = new Map();

/** @param {number} from Hz @param {number} to Hz @returns {Filter} */
function filter(from, to) {
  const key = `${from} ${to}`;
  const known = FILTERS.get(key) ?? made(from, to);
  FILTERS.set(key, known);
  return known;
}

/** @param {number} from Hz @param {number} to Hz @returns {Filter} */
function made(from, to) {
  const places = Math.min(MOST_PLACES, to / commonDivisor(from, to));
  const squeeze = Math.min(1, to / from) * KEPT; // as wide as the lower of the two rates wants it
  const reach = Math.ceil(CROSSINGS / squeeze);
  const weights = new Float32Array(places * 2 * reach);
  for (let at = 0; at < weights.length; at++) {
    const place = Math.floor(at / (2 * reach)) / places;
    const tap = (at % (2 * reach)) - reach + 1;
    weights[at] = squeeze * kernel((tap - place) * squeeze);
  }
  return { places, reach, weights };
}

/** @param {number} x in zero crossings */
function kernel(x) {
  if (x === 0) return 1;
  if (Math.abs(x) >= CROSSINGS) return 0;
  return (Math.sin(Math.PI * x) / (Math.PI * x)) * (0.5 + 0.5 * Math.cos((Math.PI * x) / CROSSINGS));
}

/** @param {number} one @param {number} other @returns {number} */
function commonDivisor(one, other) {
  return other ? commonDivisor(other, one % other) : one;
}

export class Resampler {
  /** @param {number} from Hz @param {number} to Hz */
  constructor(from, to) {
    this.same = from === to;
    this.filter = filter(from, to);
    /** So many places further is the next sample. */
    this.step = (from / to) * this.filter.places;
    /** Samples not used up yet; at first, the silence before. */
    this.kept = new Float32Array(2048);
    this.filled = this.filter.reach;
    /** The next sample is taken here, and so many places further. */
    this.at = this.filter.reach;
    this.place = 0;
  }

  /**
   * @param {Float32Array} samples
   * @returns {Float32Array}
   */
  process(samples) {
    if (this.same) return samples;
    this.keep(samples);
    const { places, reach } = this.filter;
    const ready = (this.filled - reach - this.at) * places - this.place;
    const output = new Float32Array(Math.max(0, Math.ceil(ready / this.step)));
    for (let n = 0; n < output.length; n++) {
      output[n] = this.taken();
      this.place += this.step;
      const whole = Math.floor(this.place / places);
      this.at += whole;
      this.place -= whole * places;
    }
    const used = Math.min(this.filled, this.at - reach);
    this.kept.copyWithin(0, used, this.filled);
    this.filled -= used;
    this.at -= used;
    return output;
  }

  /** @param {Float32Array} samples */
  keep(samples) {
    const wanted = this.filled + samples.length;
    if (wanted > this.kept.length) {
      const larger = new Float32Array(2 * wanted);
      larger.set(this.kept.subarray(0, this.filled));
      this.kept = larger;
    }
    this.kept.set(samples, this.filled);
    this.filled = wanted;
  }

  /** The sample at this place. */
  taken() {
    const { kept } = this;
    const { reach, weights } = this.filter;
    const first = this.at - reach + 1;
    const row = Math.floor(this.place) * 2 * reach;
    let sum = 0;
    for (let tap = 0; tap < 2 * reach; tap++) sum += kept[first + tap] * weights[row + tap];
    return sum;
  }
}
