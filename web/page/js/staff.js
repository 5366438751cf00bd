/**
 * Draws the staff and its two choirs, as an old antiphonary has them: a square note for the one, a lozenge for the other.
 * A note that is filled has the turn, one that is hollow waits. It knows no sound and no clock: both are handed in.
 */

/**
 * @typedef {import("./session_state.js").Phase} Phase
 * @typedef {"you"|"them"} Side
 * @typedef {Record<"line"|"you"|"them"|"soft"|"paper", string>} Inks
 *
 * @typedef {object} Scene
 * @property {Phase} phase
 * @property {boolean} closed the user shut the microphone
 * @property {number} place in the line
 * @property {Record<Side, ArrayLike<number>>} past loudness from 0 to 1 of each, the newest first
 * @property {number} swing from 0 to 1, over and over: what moves by itself
 * @property {boolean} still nothing shall travel
 * @property {boolean} open nothing stands in the middle
 * @property {Inks} inks
 *
 * @typedef {{pen: CanvasRenderingContext2D, width: number, height: number, gap: number}} Sheet
 */

/** Lines of a staff, in the books that antiphons stand in. */
const STAFF = [-1.5, -0.5, 0.5, 1.5];

/** Arcs of each choir, and half the angle that one fills. */
const ARCS = 9;
const SPREAD = 0.6;

/** Moments in which sound travels from one arc to the next. */
export const STEPS = 4;

/** Where in the staff the notes stand that travel from the one to the other. */
const MELODY = [0.5, 0, -0.5, 0, -1, -0.5, 0.5];

/** Those ahead in the line that have room before the words. */
const QUEUE = 6;

/** Phases in which something is under way between the two. */
const TRAVELS = new Set(["connecting", "reconnecting", "thinking"]);

/** @type {Record<Side, Set<string>>} whose turn it is */
const TURN = { you: new Set(["idle", "hearing", "queued"]), them: new Set(["idle", "speaking", "muted"]) };

/** @param {Phase} phase whether something moves by itself */
export const swings = (phase) => TRAVELS.has(phase) || phase === "listening" || phase === "asking";

/** @param {CanvasRenderingContext2D} pen @param {number} width @param {number} height @param {Scene} scene */
export function draw(pen, width, height, scene) {
  /** @type {Sheet} */
  const sheet = { pen, width, height, gap: Math.max(14, Math.min(26, height / 8)) };
  pen.clearRect(0, 0, width, height);
  drawLines(sheet, scene);
  if (TRAVELS.has(scene.phase)) drawTravellers(sheet, scene);
  if (scene.phase === "queued") drawQueue(sheet, scene);
  if (scene.phase === "muted") drawRest(sheet, scene);
  drawSide(sheet, scene, "you", 1);
  drawSide(sheet, scene, "them", -1);
}

/** @param {Sheet} sheet @param {Side} side */
const seat = ({ width }, side) => (side === "you" ? 0.1 : 0.9) * width;

/** The lines carry the voices, as strings do; in the middle they make room for words. @param {Sheet} sheet @param {Scene} scene */
function drawLines({ pen, width, height, gap }, scene) {
  pen.strokeStyle = scene.open ? scene.inks.line : faded(pen, width, scene.inks.line);
  pen.lineWidth = 1;
  pen.setLineDash(scene.phase === "reconnecting" || scene.phase === "failed" ? [3, 9] : []);
  for (const line of STAFF) {
    const y = Math.round(height / 2 + line * gap) + 0.5;
    pen.beginPath();
    pen.moveTo(0, y);
    if (scene.still) pen.lineTo(width, y);
    else for (let x = 0; x <= width; x += 4) pen.lineTo(x, y + strung(scene, x / width, line, width));
    pen.stroke();
  }
  pen.setLineDash([]);
}

/** How far a line swings there: less behind the singer, and where words stand. @param {Scene} scene @param {number} at from 0 to 1 @param {number} line @param {number} width */
function strung({ past }, at, line, width) {
  const ahead = at < 0.5 ? at - 0.1 : 0.9 - at;
  const loud = past[at < 0.5 ? "you" : "them"];
  const far = Math.abs(ahead) * 110;
  const [one, next] = [loud[Math.min(loud.length - 1, Math.floor(far))], loud[Math.min(loud.length - 1, Math.floor(far) + 1)]];
  const level = one + (next - one) * (far % 1);
  return 5 * level * Math.max(0, 1 - Math.abs(ahead) * (ahead < 0 ? 9 : 2.8)) * Math.sin((ahead * width) / 9 + line * 2.1);
}

/** @param {CanvasRenderingContext2D} pen @param {number} width @param {string} ink */
function faded(pen, width, ink) {
  const shade = pen.createLinearGradient(0, 0, width, 0);
  const clear = ink.startsWith("#") ? `${ink}00` : "transparent"; // towards black it would darken on its way
  const stops = /** @type {const} */ ([[0, ink], [0.24, ink], [0.37, clear], [0.63, clear], [0.76, ink], [1, ink]]);
  for (const [at, colour] of stops) shade.addColorStop(at, colour);
  return shade;
}

/** Notes on their way: of who spoke they become notes of who answers. @param {Sheet} sheet @param {Scene} scene */
function drawTravellers(sheet, scene) {
  const { pen, width, height, gap } = sheet;
  const [from, to] = [seat(sheet, "you") + 26, seat(sheet, "them") - 26];
  const hollow = scene.phase !== "thinking";
  MELODY.forEach((line, at) => {
    const way = ((scene.still ? 0.5 / MELODY.length : scene.swing) + at / MELODY.length) % 1;
    const past = way > 0.5;
    const clear = scene.open ? 1 : Math.min(1, Math.max(0, (Math.abs(way - 0.5) - 0.19) * 9));
    pen.globalAlpha = clear * Math.min(1, way * 12, (1 - way) * 12);
    pen.fillStyle = pen.strokeStyle = hollow ? scene.inks.soft : scene.inks[past ? "them" : "you"];
    const turned = Math.min(1, Math.max(0, (way - 0.35) / 0.3));
    note({ pen, hollow, x: from + (to - from) * way, y: height / 2 + line * gap, size: Math.min(5.5, width / 90), turned });
  });
  pen.globalAlpha = 1;
}

/** Who is served before. @param {Sheet} sheet @param {Scene} scene */
function drawQueue(sheet, scene) {
  const { pen, height, gap } = sheet;
  pen.strokeStyle = pen.fillStyle = scene.inks.soft;
  for (let at = 1; at <= Math.min(scene.place - 1, QUEUE); at++) {
    note({ pen, hollow: true, x: seat(sheet, "you") + 8 + at * 30, y: height / 2 + (at % 2 ? -0.5 : 0) * gap, size: 6, turned: 0 });
  }
}

/** A double bar, where singers stop. @param {Sheet} sheet @param {Scene} scene */
function drawRest(sheet, scene) {
  const { pen, height, gap } = sheet;
  pen.strokeStyle = scene.inks.them;
  pen.lineWidth = 3;
  for (const beside of [34, 43]) {
    pen.beginPath();
    pen.moveTo(seat(sheet, "them") - beside, height / 2 - 1.5 * gap);
    pen.lineTo(seat(sheet, "them") - beside, height / 2 + 1.5 * gap);
    pen.stroke();
  }
}

/** @param {Sheet} sheet @param {Scene} scene @param {Side} side @param {1|-1} way to which side it sings */
function drawSide(sheet, scene, side, way) {
  const { pen, height } = sheet;
  const [x, y] = [seat(sheet, side), height / 2];
  const dead = scene.phase === "failed" || scene.phase === "reconnecting";
  const loud = scene.past[side][0];
  const turn = TURN[side].has(scene.phase);
  pen.strokeStyle = pen.fillStyle = dead ? scene.inks.soft : scene.inks[side];
  if (!TRAVELS.has(scene.phase) && !dead && !(side === "you" && (scene.closed || scene.phase === "queued"))) drawArcs(sheet, scene, side, way);
  if (side === "you" && scene.phase === "listening" && !scene.closed) drawInvitation(sheet, scene, x, y);
  const shut = side === "you" && scene.closed;
  note({ pen, hollow: !turn || dead || shut, x, y, size: 9 + (scene.still ? 0 : 4 * loud), turned: side === "them" ? 1 : 0, paper: scene.inks.paper });
  if (shut) strike(pen, x, y);
}

/** @param {Sheet} sheet @param {Scene} scene @param {Side} side @param {1|-1} way */
function drawArcs(sheet, scene, side, way) {
  const { pen, width, height } = sheet;
  const [x, y] = [seat(sheet, side), height / 2];
  const past = scene.past[side];
  const reach = scene.open ? 0.36 : 0.2;
  const gap = Math.min(38, (width * reach) / ARCS, (y / Math.sin(SPREAD + 0.1) - 34) / ARCS);
  for (let arc = 0; arc < ARCS; arc++) {
    const level = past[scene.still ? 0 : Math.min(past.length - 1, arc * STEPS)] * (1 - arc / (ARCS * 1.4));
    const spread = SPREAD + 0.1 * (scene.still ? 0 : level);
    pen.globalAlpha = (0.2 - 0.012 * arc) + 0.78 * level;
    pen.lineWidth = scene.still ? 2 : 1.25 + Math.min(7, 0.5 * gap) * level;
    const middle = way > 0 ? 0 : Math.PI;
    pen.beginPath();
    pen.arc(x, y, 26 + gap * arc, middle - spread, middle + spread);
    pen.stroke();
  }
  pen.globalAlpha = 1;
}

/** It is the user's turn: a frame that opens around the note. @param {Sheet} sheet @param {Scene} scene @param {number} x @param {number} y */
function drawInvitation({ pen }, scene, x, y) {
  const open = scene.still ? 0.4 : scene.swing;
  const half = 12 + 13 * open;
  pen.globalAlpha = 0.75 * (1 - open);
  pen.lineWidth = 2;
  pen.strokeRect(x - half, y - half, 2 * half, 2 * half);
  pen.globalAlpha = 1;
}

/** The microphone is shut. @param {CanvasRenderingContext2D} pen @param {number} x @param {number} y */
function strike(pen, x, y) {
  pen.lineWidth = 3;
  pen.beginPath();
  pen.moveTo(x - 17, y + 17);
  pen.lineTo(x + 17, y - 17);
  pen.stroke();
}

/** @param {{pen: CanvasRenderingContext2D, hollow: boolean, x: number, y: number, size: number, turned: number, paper?: string}} what turned from 0, a square, to 1, a lozenge */
function note({ pen, hollow, x, y, size, turned, paper }) {
  pen.save();
  pen.translate(x, y);
  pen.rotate((Math.PI / 4) * turned);
  if (!hollow) pen.fillRect(-size, -size, 2 * size, 2 * size);
  else {
    pen.lineWidth = Math.min(2.5, size / 2.5);
    const half = size - pen.lineWidth / 2;
    const ink = pen.fillStyle;
    pen.fillStyle = paper ?? "transparent";
    pen.fillRect(-half, -half, 2 * half, 2 * half);
    pen.fillStyle = ink;
    pen.strokeRect(-half, -half, 2 * half, 2 * half);
  }
  pen.restore();
}
