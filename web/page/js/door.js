/** The door: whether the server lets us in, with which key, and the form that asks for one. */

import { keepKey, keptKey, keyOfAddress } from "./api_key.js";
import { byId } from "./dom.js";
import { backoff } from "./retry.js";
import { voices } from "./server.js";
import { t } from "./strings.js";
import { isSayable } from "./token.js";

/**
 * @typedef {object} Guest
 * @property {(voices: import("./server.js").Voice[]) => void} welcome who can be talked to
 * @property {(message: string) => void} refused no key would help; the server says why
 * @property {(away: boolean) => void} away nobody answered, or somebody does again
 */

export class Door {
  /** @param {Guest} guest */
  constructor(guest) {
    this.guest = guest;
    this.misses = 0;
    /** @type {ReturnType<typeof setTimeout>|undefined} */
    this.timer = undefined;
    this.form = byId("key-form", HTMLFormElement);
    this.input = byId("key", HTMLInputElement);
    this.keep = byId("key-keep", HTMLInputElement);
    this.says = byId("key-says", HTMLElement);
    const given = keyOfAddress();
    if (given) keepKey(given, false);
    this.key = given || keptKey();
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.key = this.input.value.trim();
      void this.knock();
    });
  }

  /** Nothing begins before a key was taken. */
  get shut() {
    return !this.form.hidden;
  }

  /** Tries the key that was written; else shows where to write it. */
  open() {
    if (this.input.value.trim()) this.form.requestSubmit();
    else this.input.focus();
  }

  /** Asks who can be talked to: that needs the same key as a talk. */
  async knock() {
    clearTimeout(this.timer);
    const { key } = this;
    if (!isSayable(key)) return this.ask();
    const found = await voices(key);
    if (key !== this.key) return; // another was tried meanwhile
    const away = found.status === 0 || found.status >= 500;
    this.guest.away(away);
    if (away) return this.knockLater();
    this.misses = 0;
    if (found.status === 401) return this.ask();
    if (found.status === 403) return this.guest.refused(found.message);
    if (!this.form.hidden && key) keepKey(key, this.keep.checked);
    this.form.hidden = true;
    this.input.value = this.says.textContent = "";
    this.guest.welcome(found.voices);
  }

  /** A server that is away is asked again. */
  knockLater() {
    this.timer = setTimeout(() => void this.knock(), backoff((this.misses += 1), Math.random()));
  }

  /** A key is wanted, or another than this one. */
  ask() {
    if (this.key) {
      keepKey("", false);
      this.says.textContent = t("key_");
      this.key = "";
    }
    if (!this.form.hidden) return;
    this.form.hidden = false;
    this.input.focus();
  }
}
