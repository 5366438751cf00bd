/** Fields of a form, each with its label, what it means, and what happens when it is changed. */

import { make } from "./dom.js";
import { t } from "./strings.js";

/**
 * @typedef {{value: string, name: string}} Option
 *
 * @typedef {object} About
 * @property {string} name of what is chosen; its element is `wish-name`
 * @property {string} [label] a key of strings.js, if it is not the name
 * @property {string} [hint] a key of strings.js
 */

/** @param {About} about @param {Option[]} options @param {string} value @param {(value: string) => void} changed */
export function select(about, options, value, changed) {
  const items = options.map((option) => make("option", { value: option.value, selected: option.value === value }, option.name));
  const input = make("select", { ...named(about), onchange: () => changed(input.value) }, ...items);
  return field(about, input);
}

/** @param {About} about @param {string} value @param {(value: string) => void} changed */
export function text(about, value, changed) {
  const input = make("textarea", { ...named(about), rows: 3, maxlength: 4000, onchange: () => changed(input.value) });
  input.value = value;
  return field(about, input);
}

/** From nothing to all. @param {About} about @param {number} value @param {(value: number) => void} changed */
export function share(about, value, changed) {
  const told = make("output", { for: `wish-${about.name}` });
  const input = make("input", { ...named(about), type: "range", min: 0, max: 1, step: 0.05, value, oninput: () => {
    changed(Number(input.value));
    show();
  } });
  const show = () => {
    told.textContent = t("percent", { n: Math.round(Number(input.value) * 100) });
    input.setAttribute("aria-valuetext", told.textContent);
  };
  show();
  return field(about, make("div", { class: "share" }, input, told));
}

/** @param {About & {disabled?: boolean}} about @param {boolean} value @param {(value: boolean) => void} changed */
export function tick(about, value, changed) {
  const input = make("input", { ...named(about), type: "checkbox", checked: value, disabled: about.disabled, onchange: () => changed(input.checked) });
  const label = make("label", { for: input.id }, t(about.label ?? about.name));
  return make("div", { class: "field row" }, input, label, ...hint(about));
}

/** @param {string} name a key of strings.js @param {...Node} children */
export function section(name, ...children) {
  return make("fieldset", { id: `choices-${name}` }, make("legend", { tabindex: -1 }, t(name)), ...children);
}

/** @param {About} about */
function named(about) {
  return { id: `wish-${about.name}`, "aria-describedby": about.hint ? `hint-${about.name}` : undefined };
}

/** @param {About} about */
function hint(about) {
  return about.hint ? [make("small", { id: `hint-${about.name}` }, t(about.hint))] : [];
}

/** @param {About} about @param {HTMLElement} input */
function field(about, input) {
  return make("div", { class: "field" }, make("label", { for: `wish-${about.name}` }, t(about.label ?? about.name)), input, ...hint(about));
}
