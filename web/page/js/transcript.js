/** What was said by both, and how much of it was heard so far. Pure; subtitles.js shows it. */

/**
 * @typedef {object} Line
 * @property {string} id the server's name for it
 * @property {"you"|"them"|"note"} who
 * @property {string} text
 * @property {number} heard characters that were heard, or are certain
 * @property {"open"|"done"|"cut"} state open: more may come
 * @property {boolean} timed it is told when each word sounds
 * @property {{end: number, at_ms: number}[]} marks where words end in the text, and when they begin to sound
 */

/** Older lines are forgotten: a page that is left open must not grow. */
const MOST_LINES = 400;

/** Nor does a line grow without end: nobody says so much at a stretch. */
const MOST_CHARACTERS = 20_000;

export class Transcript {
  constructor() {
    /** @type {Line[]} */
    this.lines = [];
    /** Counts changes, so that who shows it knows when to look. */
    this.version = 0;
  }

  /** @param {string} id @param {"you"|"them"|"note"} who @returns {Line} */
  line(id, who) {
    this.version += 1;
    let line = this.find(id);
    if (!line) {
      line = { id, who, text: "", heard: 0, state: "open", timed: false, marks: [] };
      this.lines.push(line);
      this.lines.splice(0, this.lines.length - MOST_LINES);
    }
    return line;
  }

  /** @param {string} id */
  find(id) {
    return this.lines.findLast((line) => line.id === id);
  }

  /** What the user seems to say; it may change. @param {string} id @param {string} text */
  guess(id, text) {
    const line = this.line(id, "you");
    if (line.state === "open") line.text = text.slice(0, MOST_CHARACTERS);
  }

  /** What the user said. Nothing at all leaves no line. @param {string} id @param {string} text */
  understood(id, text) {
    if (!text.trim()) return this.remove(id);
    const kept = text.slice(0, MOST_CHARACTERS);
    Object.assign(this.line(id, "you"), { text: kept, heard: kept.length, state: "done" });
  }

  /** @param {string} id */
  remove(id) {
    this.version += 1;
    this.lines = this.lines.filter((line) => line.id !== id);
  }

  /** More of what the assistant will say. @param {string} id @param {string} delta */
  says(id, delta) {
    const line = this.line(id, "them");
    if (line.state === "open") line.text = (line.text + delta).slice(0, MOST_CHARACTERS);
  }

  /** The text from its beginning: after a lost connection it is told again, whatever was thought to become of it. @param {string} id */
  saysAnew(id) {
    const line = this.find(id);
    if (line?.who === "them") Object.assign(line, { text: "", state: "open" });
  }

  /**
   * Words whose sound begins in what was just received.
   * @param {string} id
   * @param {{text: string, start_ms: number}[]} words
   */
  sounds(id, words) {
    const line = this.line(id, "them");
    for (const word of words) {
      if (!word?.text || !Number.isFinite(word.start_ms)) continue;
      const last = line.marks.at(-1);
      if (last && word.start_ms <= last.at_ms) continue; // told again, after a lost connection
      const from = last?.end ?? 0;
      const begin = line.text.indexOf(word.text, from);
      if (begin < 0) continue;
      line.timed = true;
      line.marks.push({ end: begin + word.text.length, at_ms: word.start_ms });
    }
  }

  /** It was heard so far. @param {string} id @param {number} ms */
  heardTo(id, ms) {
    const line = this.find(id);
    if (!line || line.state !== "open") return;
    const heard = line.timed ? (line.marks.findLast((mark) => mark.at_ms < ms)?.end ?? 0) : ms > 0 ? line.text.length : 0;
    if (heard !== line.heard) {
      line.heard = heard;
      this.version += 1;
    }
  }

  /**
   * It is over.
   * @param {string} id
   * @param {boolean} cut it was not heard to its end
   * @param {string} [heard] the server's opinion, where nobody was told when words sound
   */
  ended(id, cut, heard) {
    const line = this.find(id);
    if (!line || line.state !== "open") return;
    this.version += 1;
    line.state = cut ? "cut" : "done";
    if (!cut) line.heard = line.text.length;
    else if (!line.timed && heard !== undefined) line.heard = Math.min(line.text.length, heard.length);
    if (!line.text.trim()) this.remove(id);
  }

  /** It had come whole, and was stopped before it was heard to its end. @param {string} id @param {number} ms */
  cutShort(id, ms) {
    const line = this.find(id);
    if (line?.state !== "done") return;
    line.state = "open";
    this.heardTo(id, ms);
    this.ended(id, true);
  }

  /**
   * What was said while this page was not there to hear it, as the server has it: lines that are missing are put where
   * they belong, and those that were left open are settled.
   * @param {{type: string, id: string, role?: string, text?: string, interrupted?: boolean}[]} items
   * @param {string} current whose words still come
   */
  recalled(items, current = "") {
    let at = 0;
    for (const { type, id, role, text, interrupted } of items) {
      if (type !== "message" || typeof text !== "string" || (role !== "user" && role !== "assistant")) continue;
      const known = this.lines.findIndex((line) => line.id === id);
      const state = /** @type {Line["state"]} */ (interrupted ? "cut" : "done");
      if (known < 0) {
        const who = /** @type {Line["who"]} */ (role === "user" ? "you" : "them");
        this.lines.splice(at, 0, { id, who, text, heard: text.length, state, timed: false, marks: [] });
      } else if (this.lines[known].state === "open" && id !== current) {
        Object.assign(this.lines[known], { text, heard: text.length, state });
      }
      at = known < 0 ? at + 1 : known + 1;
    }
    this.lines.splice(0, this.lines.length - MOST_LINES);
    this.version += 1;
  }

  /** What the page itself has to say in between. @param {string} text */
  note(text) {
    if (this.lines.at(-1)?.who === "note" && this.lines.at(-1)?.text === text) return;
    Object.assign(this.line(`note ${this.version}`, "note"), { text, heard: text.length, state: "done" });
  }
}
