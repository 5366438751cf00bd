/** Whom one can talk to: a card for each character, and where their voices come from. */

import { make } from "./dom.js";
import { languageName, t } from "./strings.js";

/** @typedef {import("./server.js").Voice} Voice */

/** Who speaks, if nobody chose. @param {Voice[]} voices @param {string} wanted @returns {Voice|undefined} */
export function speaker(voices, wanted) {
  return voices.find((voice) => voice.name === wanted && voice.available !== false) ?? voices.find((voice) => voice.available !== false);
}

/** What a character speaks; the first, if there are several. @param {Voice|undefined} voice */
export function tongue(voice) {
  return voice?.instructions.language?.split("/")[0] ?? "";
}

/**
 * @param {Voice[]} voices
 * @param {string} wanted
 * @param {(name: string) => void} choose
 * @param {string} group cards of one group exclude each other
 */
export function cards(voices, wanted, choose, group) {
  const chosen = speaker(voices, wanted);
  const all = voices.map((voice) => card(voice, voice === chosen, choose, group));
  return make("div", { class: "cast", role: "radiogroup", "aria-label": t("whom") }, ...all);
}

/** @param {Voice} voice @param {boolean} chosen @param {(name: string) => void} choose @param {string} group */
function card(voice, chosen, choose, group) {
  const off = voice.available === false;
  const input = make("input", { type: "radio", name: group, id: `${group}-${voice.name}`, value: voice.name, checked: chosen, disabled: off, onchange: () => choose(voice.name) });
  const about = off ? (voice.unavailable_reason ?? "") : (voice.comment ?? "");
  const speaks = (voice.instructions.language ?? "").split("/").filter(Boolean).map(languageName).join(", ");
  return make(
    "label", { class: off ? "character off" : "character" },
    input, make("b", {}, voice.name), make("span", { lang: off ? "en" : tongue(voice) || undefined }, about),
    ...(speaks ? [make("i", {}, speaks)] : []),
  );
}

/** Where the voices come from, and by which licence. @param {Voice[]} voices */
export function credits(voices) {
  const lines = voices.map((voice) => {
    const { description = "", description_link: link, license = "" } = voice.source;
    const source = link ? make("a", { href: link, target: "_blank", rel: "noreferrer" }, license || link) : license;
    return make("li", {}, make("b", {}, voice.name), " ", make("span", { lang: "en" }, description), " ", source);
  });
  return make("details", { class: "credits" }, make("summary", {}, t("credits")), make("ul", {}, ...lines));
}
