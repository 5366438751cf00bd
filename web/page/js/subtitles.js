/** Shows the transcript: whose line it is, which words were heard, which never will be. */

import { make } from "./dom.js";

/** @typedef {import("./transcript.js").Line} Line */

/**
 * @typedef {object} Reader what a line needs of the page
 * @property {(line: Line) => void} told a line is complete
 * @property {(who: "you"|"them") => string} name
 * @property {(who: "you"|"them") => string} language
 */

/** So near the end it keeps to the end. */
const NEAR_PX = 80;

export class Subtitles {
  /** @param {HTMLElement} scroller @param {HTMLElement} list @param {Reader} reader */
  constructor(scroller, list, reader) {
    this.scroller = scroller;
    this.list = list;
    this.reader = reader;
    /** @type {Map<string, {element: HTMLElement, look: string, told: boolean}>} */
    this.shown = new Map();
    this.version = -1;
  }

  /** @param {import("./transcript.js").Transcript} transcript */
  show(transcript) {
    if (transcript.version === this.version) return;
    this.version = transcript.version;
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const follows = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    const ids = new Set(transcript.lines.map((line) => line.id));
    for (const [id, { element }] of this.shown) if (!ids.has(id)) this.forget(id, element);
    for (const line of transcript.lines) this.showLine(line);
    this.order(transcript.lines);
    if (follows) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** @param {string} id @param {HTMLElement} element */
  forget(id, element) {
    element.remove();
    this.shown.delete(id);
  }

  /** Lines stand in the order in which they were said; hardly any ever moves. @param {Line[]} lines */
  order(lines) {
    lines.forEach((line, at) => {
      const element = this.shown.get(line.id)?.element;
      const there = this.list.children[at] ?? null;
      if (element && element !== there) this.list.insertBefore(element, there);
    });
  }

  /** @param {Line} line */
  showLine(line) {
    const look = `${line.state}|${line.heard}|${line.text}`;
    let shown = this.shown.get(line.id);
    if (!shown) {
      shown = { element: make("li", line.who === "note" ? {} : { lang: this.reader.language(line.who) }), look: "", told: false };
      this.shown.set(line.id, shown);
    }
    if (shown.look !== look) {
      shown.look = look;
      shown.element.className = `line ${line.who}${line.who === "you" && line.state === "open" ? " guess" : ""}`;
      shown.element.hidden = !line.text.trim();
      shown.element.replaceChildren(...this.words(line));
    }
    if (line.state !== "open" && !shown.told) {
      shown.told = true;
      this.reader.told(line);
    }
  }

  /** The words of another script run as they do in it; who says them is in the language of the page. @param {Line} line @returns {Node[]} */
  words(line) {
    const who = line.who === "note" ? [] : [make("span", { class: "sr", lang: document.documentElement.lang }, `${this.reader.name(line.who)}: `)];
    const [heard, rest] = [line.text.slice(0, line.heard), line.text.slice(line.heard)];
    if (line.who !== "them" || !rest) return [...who, make("span", { dir: "auto" }, line.text.trim())];
    const coming = line.state === "cut" ? make("s", {}, rest) : make("span", { class: "coming" }, rest);
    return [...who, make("span", { dir: "auto" }, heard.trimStart(), coming)];
  }
}
