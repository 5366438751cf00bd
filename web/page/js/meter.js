/**
 * The two choirs on their staff: each a note with arcs of sound that travel towards the other, as loud as the voice.
 * For who wants no motion the arcs stand still and only grow stronger.
 */

import { level } from "./loudness.js";

/** @typedef {{you: AnalyserNode|null, them: AnalyserNode|null}} Meters */

const ARCS = 9;

/** Half the angle that an arc fills. */
const SPREAD = 0.6;

/** Time in which sound travels from one arc to the next. */
const STEP_MS = 55;

/** Quieter than this is drawn as silence, louder than the second as loud as can be. */
const QUIET_DB = -55;
const LOUD_DB = -16;

/** Lines of a staff, in the books that antiphons stand in. */
const STAFF = [-1.5, -0.5, 0.5, 1.5];

export class Choirs {
  /** @param {HTMLCanvasElement} canvas @param {() => Meters} meters */
  constructor(canvas, meters) {
    this.canvas = canvas;
    this.meters = meters;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.samples = new Float32Array(512);
    /** @type {{you: number[], them: number[]}} levels of the last moments, the newest first */
    this.past = { you: Array(64).fill(0), them: Array(64).fill(0) };
    this.stepped = 0;
    this.runs = false;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** @param {boolean} live there is something to be seen */
  run(live) {
    if (live && !this.runs) requestAnimationFrame((now) => this.frame(now));
    this.runs = live;
  }

  /** @param {number} now */
  frame(now) {
    const meters = this.meters();
    const steps = Math.min(8, Math.floor((now - this.stepped) / (STEP_MS / 4)));
    if (steps > 0) {
      this.stepped = now;
      for (const side of /** @type {const} */ (["you", "them"])) {
        const level = loudness(meters[side], this.samples);
        for (let step = 0; step < steps; step++) this.past[side].unshift(Math.max(level, this.past[side][0] * 0.8));
        this.past[side].length = 64;
      }
      this.draw();
    }
    if (this.runs) requestAnimationFrame((next) => this.frame(next));
    else {
      this.past = { you: Array(64).fill(0), them: Array(64).fill(0) };
      this.draw();
    }
  }

  draw() {
    const scale = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (this.canvas.width !== Math.round(width * scale)) this.canvas.width = Math.round(width * scale);
    if (this.canvas.height !== Math.round(height * scale)) this.canvas.height = Math.round(height * scale);
    const pen = this.canvas.getContext("2d");
    if (!pen || !width) return;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.canvas);
    this.drawStaff(pen, width, height, style.getPropertyValue("--line"));
    this.drawSide(pen, "you", width * 0.1, height / 2, 1, width, style.getPropertyValue("--you"));
    this.drawSide(pen, "them", width * 0.9, height / 2, -1, width, style.getPropertyValue("--them"));
  }

  /** @param {CanvasRenderingContext2D} pen @param {number} width @param {number} height @param {string} colour */
  drawStaff(pen, width, height, colour) {
    pen.strokeStyle = colour;
    pen.lineWidth = 1;
    for (const line of STAFF) {
      const y = Math.round(height / 2 + line * 26) + 0.5;
      for (const [from, to] of [[0, width * 0.33], [width * 0.67, width]]) {
        pen.beginPath();
        pen.moveTo(from, y);
        pen.lineTo(to, y);
        pen.stroke();
      }
    }
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {"you"|"them"} side
   * @param {number} x @param {number} y
   * @param {1|-1} way to which side it sings
   * @param {number} width @param {string} colour
   */
  drawSide(pen, side, x, y, way, width, colour) {
    const past = this.past[side];
    const gap = Math.min(38, (width * 0.2) / ARCS, (y / Math.sin(SPREAD + 0.1) - 34) / ARCS);
    pen.strokeStyle = pen.fillStyle = colour;
    this.drawNote(pen, side, x, y, 8 + 5 * past[0]);
    for (let arc = 0; arc < ARCS; arc++) {
      const level = past[this.still.matches ? 0 : Math.min(63, arc * 4)] * (1 - arc / (ARCS * 1.4));
      const radius = 24 + gap * arc;
      const spread = SPREAD + 0.1 * level;
      pen.globalAlpha = 0.16 + 0.84 * level;
      pen.lineWidth = 1.25 + 7 * level;
      pen.beginPath();
      if (way > 0) pen.arc(x, y, radius, -spread, spread);
      else pen.arc(x, y, radius, Math.PI - spread, Math.PI + spread);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  /**
   * A square note for the one, a lozenge for the other.
   * @param {CanvasRenderingContext2D} pen @param {"you"|"them"} side @param {number} x @param {number} y @param {number} size
   */
  drawNote(pen, side, x, y, size) {
    pen.save();
    pen.translate(x, y);
    if (side === "them") pen.rotate(Math.PI / 4);
    pen.fillRect(-size, -size, 2 * size, 2 * size);
    pen.restore();
  }
}

/** From 0 to 1. @param {AnalyserNode|null} meter @param {Float32Array<ArrayBuffer>} samples */
function loudness(meter, samples) {
  if (!meter) return 0;
  meter.getFloatTimeDomainData(samples);
  const db = 20 * Math.log10(level(samples) + 1e-6);
  return Math.max(0, Math.min(1, (db - QUIET_DB) / (LOUD_DB - QUIET_DB)));
}
