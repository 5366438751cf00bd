/** How long a turn took, stage by stage, and how late sound is on its way through this page. Pure. */

/**
 * @typedef {object} Turn
 * @property {string} reply its response
 * @property {number} voice_end_ms when the user fell silent; NaN: nobody knows
 * @property {number} decided_ms when the server said that the turn is over
 * @property {number} text_ms when the transcript came
 * @property {number} asked_ms when the response was announced
 * @property {number} word_ms when its first word came
 * @property {number} packet_ms when its first sound came
 * @property {number} sound_ms when it was heard
 * @property {number} llm_ms the server's own figure: to the first word
 * @property {number} tts_ms from there to the first sound
 *
 * @typedef {Exclude<keyof Turn, "reply">} Mark
 */

/** Turns that are kept. */
const KEPT = 20;

/** Measurements of the way through the page that are kept: five minutes of packets, in 120 KB. */
const SAMPLES = 15_000;

/** @returns {Turn} */
const fresh = () => ({
  reply: "", voice_end_ms: NaN, decided_ms: NaN, text_ms: NaN, asked_ms: NaN, word_ms: NaN, packet_ms: NaN, sound_ms: NaN,
  llm_ms: NaN, tts_ms: NaN,
});

export class Latency {
  constructor() {
    /** @type {Turn[]} those that were heard, the newest last */
    this.turns = [];
    this.turn = fresh();
    this.outward = new Distribution();
    this.inward = new Distribution();
    /** From the server's word to be silent until nothing was heard. */
    this.mute = new Distribution();
  }

  /** The user fell silent: another turn. @param {number} voice_end_ms @param {number} decided_ms */
  turnEnded(voice_end_ms, decided_ms) {
    this.turn = { ...fresh(), voice_end_ms, decided_ms };
  }

  /** A response is announced. @param {string} reply @param {number} now_ms */
  asked(reply, now_ms) {
    if (this.turn.reply) this.turn = fresh();
    this.turn.reply = reply;
    this.turn.asked_ms = now_ms;
  }

  /** The first time counts. @param {Mark} mark @param {number} now_ms */
  mark(mark, now_ms) {
    if (!Number.isNaN(this.turn[mark])) return;
    this.turn[mark] = now_ms;
    if (mark === "sound_ms") this.turns = [...this.turns, this.turn].slice(-KEPT);
  }

  /** What the server says of a response. @param {string} reply @param {number} llm_ms @param {number} tts_ms */
  told(reply, llm_ms, tts_ms) {
    const turn = this.turns.find((one) => one.reply === reply);
    if (turn) Object.assign(turn, { llm_ms, tts_ms });
  }
}

/** From the end of the user's voice to the assistant's; NaN where there was no voice. @param {Turn} turn */
export function answerMs(turn) {
  return turn.sound_ms - (Number.isNaN(turn.voice_end_ms) ? turn.asked_ms : turn.voice_end_ms);
}

/**
 * The parts that a turn is made of, in order.
 * @param {Turn} turn
 * @returns {{name: "wait"|"llm"|"tts"|"way", ms: number}[]}
 */
export function parts(turn) {
  const from = Number.isNaN(turn.voice_end_ms) ? turn.asked_ms : turn.voice_end_ms;
  const ends = /** @type {const} */ ([["wait", turn.asked_ms], ["llm", turn.word_ms], ["tts", turn.packet_ms], ["way", turn.sound_ms]]);
  let before = from;
  return ends.map(([name, end]) => {
    const ms = Math.max(0, end - before) || 0;
    before = Math.max(before, end) || before;
    return { name, ms };
  });
}

/** The newest measurements of something. */
export class Distribution {
  constructor() {
    this.ring = new Float64Array(SAMPLES);
    /** All that there ever were. */
    this.count = 0;
  }

  /** @param {number} value */
  add(value) {
    if (!Number.isFinite(value)) return;
    this.ring[this.count % SAMPLES] = value;
    this.count += 1;
  }

  /** @param {number} share from 0 to 1 @returns {number} NaN: nothing was measured */
  quantile(share) {
    const sorted = this.ring.slice(0, this.count).sort();
    return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] : NaN;
  }
}
