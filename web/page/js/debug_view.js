/** What is behind the page, for who runs the server: where the time of each turn went, the way of sound, slots and line. */

import { drawChart, legend } from "./chart.js";
import { byId, make } from "./dom.js";
import { answerMs, parts } from "./latency.js";
import { health } from "./server.js";
import { t } from "./strings.js";

/** What is shown is looked at so often while the view is open, and the server is asked every so many looks. */
const LOOK_MS = 500;
const LOOKS_PER_ASKING = 4;

/** @param {number} ms */
const shown = (ms) => (Number.isFinite(ms) ? `${Math.round(ms)} ms` : "–");

/** Names of the server's stages. @type {Record<string, string>} */
const STAGES = { stt: "dbgStt", llm: "dbgLlm", tts: "dbgTts" };

export class DebugView {
  /** @param {import("./conversation.js").Conversation} conversation @param {() => string} sound how it travels */
  constructor(conversation, sound) {
    this.conversation = conversation;
    this.sound = sound;
    this.panel = byId("debug", HTMLElement);
    this.facts = byId("facts", HTMLElement);
    this.table = byId("stages", HTMLTableElement);
    this.chart = byId("chart", SVGElement);
    this.legend = byId("legend", HTMLElement);
    this.summary = byId("chart-summary", HTMLElement);
    /** @type {any} */
    this.health = null;
    this.asked = false;
    this.looks = 0;
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
    this.anew();
    this.looks = 0;
    this.timer = setInterval(() => this.show(), LOOK_MS);
  }

  /** Words or colours are others. */
  anew() {
    this.look = "";
    this.facts.replaceChildren();
    if (this.open) this.show();
  }

  async ask() {
    this.health = await health();
    this.asked = true;
  }

  show() {
    if (this.looks++ % LOOKS_PER_ASKING === 0) void this.ask();
    const groups = this.groups();
    const names = groups.map(([title, list]) => `${title}${list.map(([name]) => name).join()}`).join();
    if (this.facts.dataset.names !== names || !this.facts.firstChild) this.lay(groups, names);
    const values = this.facts.querySelectorAll("dd");
    groups.flatMap(([, list]) => list).forEach(([, value], at) => {
      if (values[at].textContent !== value) values[at].textContent = value;
    });
    this.showTurns(this.conversation.latency.turns);
  }

  /** @param {[string, [string, string][]][]} groups @param {string} names */
  lay(groups, names) {
    this.facts.dataset.names = names;
    const parts = groups.flatMap(([title, list]) => [
      make("h3", {}, title), make("dl", {}, ...list.map(([name]) => make("div", {}, make("dt", {}, name), make("dd")))),
    ]);
    this.facts.replaceChildren(...parts);
  }

  /** @returns {[string, [string, string][]][]} */
  groups() {
    const { phase, latency, player, id, state } = this.conversation;
    const line = this.health?.queue;
    const well = this.health ? t(this.health.ok ? "dbgOk" : "dbgNotOk") : this.asked ? t("dbgAway") : "…";
    const stages = Object.entries(this.health?.stages ?? {}).map(([name, stage]) => /** @type {[string, string]} */ ([t("dbgFree", { stage: t(STAGES[name] ?? name) }), t("dbgOf", { n: stage.free, all: stage.slots })]));
    const both = (/** @type {import("./latency.js").Distribution} */ found) => t("dbgBoth", { half: shown(found.quantile(0.5)), most: shown(found.quantile(0.95)) });
    return [
      [t("dbgTalk"), [[t("dbgPhase"), t(phase, { place: state.place })], [t("dbgSession"), id.replace("sess_", "").slice(0, 12) || "–"]]],
      [t("dbgServerHead"), [
        [t("dbgServer"), well],
        ...stages,
        [t("dbgSessions"), line ? t("dbgOf", { n: line.sessions, all: line.room }) : "–"],
        [t("dbgWaiting"), line ? String(line.waiting) : "–"],
      ]],
      [t("dbgSoundHead"), [
        [t("dbgSound"), this.sound()],
        [t("dbgOut"), both(latency.outward)],
        [t("dbgIn"), both(latency.inward)],
        [t("dbgBuffer"), player ? t("dbgWanted", { n: shown(player.last.depth_ms), all: shown(player.last.target_ms) }) : "–"],
        [t("dbgUnderruns"), String(player?.last.underruns ?? 0)],
      ]],
    ];
  }

  /** @param {import("./latency.js").Turn[]} turns */
  showTurns(turns) {
    const look = JSON.stringify(turns);
    if (look === this.look) return;
    this.look = look;
    const sorted = turns.map(answerMs).filter(Number.isFinite).sort((one, other) => one - other);
    const last = turns.at(-1);
    this.summary.textContent = last
      ? t("dbgSummary", { last: shown(answerMs(last)), half: shown((sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2), n: turns.length })
      : t("dbgNoTurns");
    drawChart(this.chart, turns);
    this.legend.replaceChildren(...legend(last));
    this.table.replaceChildren(...rows(turns));
  }
}

/** The newest first. @param {import("./latency.js").Turn[]} turns */
function rows(turns) {
  const names = ["dbgAnswer", "dbgWait", "dbgText", "dbgModel", "dbgVoice", "dbgWay"];
  const head = make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col", title: t(`${name}Title`) }, t(name)))));
  const body = turns.toReversed().map((turn) => {
    const [wait, , , way] = parts(turn);
    const text = turn.text_ms - turn.voice_end_ms;
    const cells = [answerMs(turn), wait.ms, text, turn.llm_ms, turn.tts_ms, way.ms];
    return make("tr", {}, ...cells.map((ms) => make("td", {}, Number.isFinite(ms) ? String(Math.round(ms)) : "–")));
  });
  return [head, make("tbody", {}, ...body)];
}
