/** The chart of the last turns: a bar for each, of the parts that its answer took; and what the parts are. */

import { make } from "./dom.js";
import { answerMs, parts } from "./latency.js";
import { t } from "./strings.js";

/** @typedef {import("./latency.js").Turn} Turn */

const SVG = "http://www.w3.org/2000/svg";

/** Units across and up, room for figures at the left and for turns' numbers below. */
const WIDE = 320;
const LEFT = 46;
const TOP = 10;
const HIGH = 100;

/** Turns that have room. */
const TURNS = 20;

/** Steps of the axis: the least of these that needs no more than four lines. */
const STEPS_MS = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];
const LINES = 4;

/** The axis: its step, and where it ends. @param {number} most_ms */
export function scale(most_ms) {
  const step_ms = STEPS_MS.find((step) => step * LINES >= most_ms) ?? Math.ceil(most_ms / LINES / 10_000) * 10_000;
  return { step_ms, top_ms: step_ms * Math.max(1, Math.ceil(most_ms / step_ms)) };
}

/** @param {SVGElement} chart @param {Turn[]} turns */
export function drawChart(chart, turns) {
  const { step_ms, top_ms } = scale(Math.max(STEPS_MS[0], ...turns.map((turn) => answerMs(turn) || 0)));
  const up = (/** @type {number} */ ms) => TOP + HIGH - (ms / top_ms) * HIGH;
  const lines = Array.from({ length: Math.round(top_ms / step_ms) + 1 }, (_, at) => axis(up(at * step_ms), at * step_ms));
  const width = (WIDE - LEFT) / TURNS;
  const bars = turns.flatMap((turn, at) => bar(turn, LEFT + at * width, width, up));
  const newest = turns.length ? [write(LEFT + (turns.length - 0.5) * width, TOP + HIGH + 11, "▲", "newest")] : [];
  chart.replaceChildren(...lines.flat(), ...bars, ...newest);
}

/** @param {number} y @param {number} ms */
function axis(y, ms) {
  return [draw("line", { x1: LEFT, x2: WIDE, y1: y, y2: y }, "axis"), write(LEFT - 6, y + 4, ms >= 1000 ? `${ms / 1000} s` : `${ms} ms`, "figure")];
}

/** @param {Turn} turn @param {number} x @param {number} width @param {(ms: number) => number} up */
function bar(turn, x, width, up) {
  let ms = 0;
  const pieces = parts(turn).map((part) => {
    const [from, to] = [up(ms), up(ms + part.ms)];
    ms += part.ms;
    return draw("rect", { x: x + 2, y: to, width: width - 4, height: Math.max(0, from - to - 0.6) }, `part-${part.name}`);
  });
  const group = draw("g", {}, "turn");
  const title = document.createElementNS(SVG, "title");
  title.textContent = [`${Math.round(ms)} ms`, ...parts(turn).map((part) => `${t(`part-${part.name}`)}: ${Math.round(part.ms)} ms`)].join("\n");
  group.append(title, ...pieces);
  return [group];
}

/** What the colours mean, with the newest turn's figures. @param {Turn|undefined} turn */
export function legend(turn) {
  const figures = new Map(turn ? parts(turn).map(({ name, ms }) => [/** @type {string} */ (name), `${Math.round(ms)} ms`]) : []);
  return ["way", "tts", "llm", "wait"].map((name) =>
    make("div", {}, make("dt", { class: `part-${name}` }, t(`part-${name}`)), make("dd", { class: "what" }, t(`part-${name}-what`)), make("dd", {}, figures.get(name) ?? "")));
}

/** @param {string} kind @param {Record<string, number>} where @param {string} name */
function draw(kind, where, name) {
  const element = document.createElementNS(SVG, kind);
  for (const [attribute, value] of Object.entries(where)) element.setAttribute(attribute, value.toFixed(1));
  element.setAttribute("class", name);
  return element;
}

/** @param {number} x @param {number} y @param {string} text @param {string} kind */
function write(x, y, text, kind) {
  const element = draw("text", { x, y }, kind);
  element.textContent = text;
  return element;
}
