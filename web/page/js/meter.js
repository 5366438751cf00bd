/**
 * Listens to both voices and has the staff drawn as they sound; it draws nothing while nothing moves or nobody looks.
 * For who wants no motion nothing travels: a calm level stands in its place.
 */

import { level } from "./loudness.js";
import { draw, STEPS, swings } from "./staff.js";

/**
 * @typedef {object} Now what is drawn
 * @property {import("./session_state.js").Phase} phase
 * @property {boolean} closed
 * @property {number} place
 * @property {boolean} live there is something to be heard
 * @property {AnalyserNode|null} you
 * @property {AnalyserNode|null} them
 */

/** Time in which sound travels from one arc to the next. */
const ARC_MS = 55;

/** Levels that are kept of each voice. */
const KEPT = 64;

/** Quieter than this is drawn as silence, louder than the second as loud as can be. */
const QUIET_DB = -55;
const LOUD_DB = -16;

/** What moves by itself does so in this time, and is drawn so often in it: it is slow. */
const SWING_MS = 3_200;
const SWING_STEPS = 96;

/** What a level keeps from one moment to the next as it falls; and how fast it changes at all where motion is unwanted. */
const FALL = 0.8;
const CALM = 0.06;

/** Below this nothing is seen of a level. */
const UNSEEN = 0.01;

export class Choirs {
  /** @param {HTMLCanvasElement} canvas @param {() => Now} now */
  constructor(canvas, now) {
    this.canvas = canvas;
    this.now = now;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.narrow = matchMedia("(max-width: 46rem)");
    this.samples = new Float32Array(512);
    this.past = { you: new Float32Array(KEPT), them: new Float32Array(KEPT) };
    this.stepped = 0;
    this.runs = false;
    this.drawn = "";
    /** @type {import("./staff.js").Inks|null} */
    this.inks = null;
    this.frames = 0;
    new ResizeObserver(() => this.repaint()).observe(canvas);
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "(prefers-contrast: more)", "(prefers-reduced-motion: reduce)"]) {
      matchMedia(query).addEventListener("change", () => this.repaint());
    }
  }

  /** Something else is to be seen. */
  show() {
    if (this.now().live && !this.runs) requestAnimationFrame((at_ms) => this.frame(at_ms));
    this.runs = this.now().live;
    if (!this.runs) this.draw(0);
  }

  /** @param {number} at_ms */
  frame(at_ms) {
    const now = this.now();
    if (!this.runs) for (const side of Object.values(this.past)) side.fill(0);
    else this.listen(now, at_ms);
    this.draw(at_ms);
    if (this.runs) requestAnimationFrame((next_ms) => this.frame(next_ms));
  }

  /** @param {Now} now @param {number} at_ms */
  listen(now, at_ms) {
    const steps = Math.min(KEPT, Math.floor((at_ms - this.stepped) / (ARC_MS / STEPS)));
    if (steps <= 0) return;
    this.stepped = at_ms;
    for (const side of /** @type {const} */ (["you", "them"])) {
      const past = this.past[side];
      const heard = side === "you" && now.closed ? 0 : loudness(now[side], this.samples);
      for (let step = 0; step < steps; step++) {
        const next = this.still.matches ? past[0] + CALM * (heard - past[0]) : Math.max(heard, past[0] * FALL);
        past.copyWithin(1, 0);
        past[0] = next < UNSEEN ? 0 : next;
      }
    }
  }

  /** Colours or size are others. */
  repaint() {
    this.inks = null;
    this.drawn = "";
    this.draw(0);
  }

  /** @param {number} at_ms */
  draw(at_ms) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const now = this.now();
    const swing = this.still.matches || !swings(now.phase) ? 0 : Math.floor(((at_ms % SWING_MS) / SWING_MS) * SWING_STEPS) / SWING_STEPS;
    const silent = !this.past.you.some(Boolean) && !this.past.them.some(Boolean);
    const look = `${now.phase} ${now.closed} ${now.place} ${swing} ${width} ${height} ${devicePixelRatio}`;
    const pen = this.canvas.getContext("2d");
    if (!pen || !width || (silent && look === this.drawn)) return;
    this.drawn = silent ? look : "";
    this.fit(pen, width, height);
    this.inks ??= inks(this.canvas);
    this.frames += 1;
    draw(pen, width, height, { ...now, past: this.past, swing, still: this.still.matches, open: this.narrow.matches, inks: this.inks });
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} width @param {number} height */
  fit(pen, width, height) {
    const scale = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * scale)) this.canvas.width = Math.round(width * scale);
    if (this.canvas.height !== Math.round(height * scale)) this.canvas.height = Math.round(height * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
  }
}

/** @param {Element} element @returns {import("./staff.js").Inks} */
function inks(element) {
  const style = getComputedStyle(element);
  const ink = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return { line: ink("--line"), you: ink("--you"), them: ink("--them"), soft: ink("--ink-soft"), paper: ink("--paper") };
}

/** From 0 to 1. @param {AnalyserNode|null} meter @param {Float32Array<ArrayBuffer>} samples */
function loudness(meter, samples) {
  if (!meter) return 0;
  meter.getFloatTimeDomainData(samples);
  const db = 20 * Math.log10(level(samples) + 1e-6);
  return Math.max(0, Math.min(1, (db - QUIET_DB) / (LOUD_DB - QUIET_DB)));
}
