/** What is behind the page: times of each stage, the phase, the server's slots and line, buffers, a chart of the last turns. */

import { byId, make } from "./dom.js";
import { answerMs, parts } from "./latency.js";
import { health } from "./server.js";
import { t } from "./strings.js";

/** The server is asked so often while the view is open. */
const LOOK_MS = 2_000;

const SVG = "http://www.w3.org/2000/svg";

/** The chart: units across and up, and the time that fills it if no turn took longer. */
const WIDE = 300;
const HIGH = 90;
const LEAST_MS = 1_000;

/** @param {number} ms */
const shown = (ms) => (Number.isFinite(ms) ? `${Math.round(ms)} ms` : "–");

export class DebugView {
  /** @param {import("./conversation.js").Conversation} conversation @param {() => string} sound how it travels */
  constructor(conversation, sound) {
    this.conversation = conversation;
    this.sound = sound;
    this.panel = byId("debug", HTMLElement);
    this.facts = byId("facts", HTMLElement);
    this.table = byId("stages", HTMLTableElement);
    this.chart = byId("chart", SVGElement);
    /** @type {any} */
    this.health = null;
    this.look = "";
    /** @type {ReturnType<typeof setInterval>|undefined} */
    this.timer = undefined;
  }

  get open() {
    return !this.panel.hidden;
  }

  toggle() {
    this.panel.hidden = this.open;
    clearInterval(this.timer);
    if (!this.open) return;
    this.look = "";
    void this.ask();
    this.timer = setInterval(() => void this.ask(), LOOK_MS);
  }

  async ask() {
    this.health = await health();
    this.show();
  }

  show() {
    if (!this.open) return;
    const list = this.list().flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
    this.facts.replaceChildren(...list);
    const { turns } = this.conversation.latency;
    const look = JSON.stringify(turns);
    if (look === this.look) return;
    this.look = look;
    this.drawChart(turns);
    this.table.replaceChildren(...rows(turns));
  }

  /** @returns {[string, string][]} */
  list() {
    const { phase, latency, player, id } = this.conversation;
    const { outward, inward } = latency;
    const stages = Object.entries(this.health?.stages ?? {});
    const line = this.health?.queue;
    return [
      [t("dbgPhase"), phase],
      [t("dbgSession"), id.slice(0, 17) || "–"],
      [t("dbgSound"), this.sound()],
      [t("dbgBuffer"), player ? `${shown(player.last.depth_ms)} / ${player.last.target_ms} ms` : "–"],
      [t("dbgUnderruns"), String(player?.last.underruns ?? 0)],
      [t("dbgOut"), `${shown(outward.quantile(0.5))} · ${shown(outward.quantile(0.95))}`],
      [t("dbgIn"), `${shown(inward.quantile(0.5))} · ${shown(inward.quantile(0.95))}`],
      ...stages.map(([name, stage]) => /** @type {[string, string]} */ ([`${name} ${t("dbgFree")}`, `${stage.free} / ${stage.slots}`])),
      [t("dbgLine"), line ? `${line.sessions} / ${line.room} · ${line.waiting}` : "–"],
      [t("dbgServer"), this.health ? (this.health.ok ? t("dbgOk") : t("dbgNotOk")) : t("dbgAway")],
    ];
  }

  /** @param {import("./latency.js").Turn[]} turns */
  drawChart(turns) {
    const most = Math.max(LEAST_MS, ...turns.map((turn) => answerMs(turn)));
    const step = WIDE / 20;
    const bars = turns.flatMap((turn, at) => {
      let top = HIGH;
      return parts(turn).map(({ name, ms }) => {
        const height = (ms / most) * HIGH;
        top -= height;
        return bar({ x: at * step + 2, y: top, width: step - 4, height }, `bar-${name}`);
      });
    });
    this.chart.replaceChildren(...bars);
  }
}

/** @param {Record<string, number>} where @param {string} kind */
function bar(where, kind) {
  const rect = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries(where)) rect.setAttribute(name, value.toFixed(1));
  rect.setAttribute("class", kind);
  return rect;
}

/** The newest first. @param {import("./latency.js").Turn[]} turns */
function rows(turns) {
  const names = ["dbgAnswer", "dbgWait", "dbgText", "dbgLlm", "dbgTts", "dbgWay"];
  const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, t(name))));
  const body = turns.toReversed().map((turn) => {
    const [wait, , , way] = parts(turn);
    const text = turn.text_ms - turn.voice_end_ms;
    const cells = [answerMs(turn), wait.ms, text, turn.llm_ms, turn.tts_ms, way.ms];
    return make("tr", {}, ...cells.map((ms) => make("td", {}, Number.isFinite(ms) ? String(Math.round(ms)) : "–")));
  });
  return [head, ...body];
}
