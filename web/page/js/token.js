/** The resume token: it survives a reload of the page, and nothing else does. */

import { RESUME_MS } from "./retry.js";

const KEPT_AS = "antiphon.resume";

/** What a subprotocol may be made of, and a WebSocket takes. */
const SAYABLE = /^[\w!#$%&'*+.^`|~-]{0,400}$/;

/** For browsers that keep nothing. */
let remembered = "{}";

/** Whether a browser would offer it as part of a subprotocol. @param {string} secret */
export function isSayable(secret) {
  return SAYABLE.test(secret);
}

/** @param {unknown} [token] the newest; none: it is still in use */
export function keepToken(token) {
  const kept = typeof token === "string" && isSayable(token) ? token : heldToken();
  if (kept) write(JSON.stringify({ token: kept, at_ms: Date.now() }));
}

export function forgetToken() {
  write("{}");
}

/** The token, while the server keeps what it stands for; empty: none. @returns {string} */
export function heldToken() {
  try {
    const { token, at_ms } = JSON.parse(read());
    return typeof token === "string" && isSayable(token) && Date.now() - at_ms < RESUME_MS ? token : "";
  } catch {
    return "";
  }
}

function read() {
  try {
    return sessionStorage.getItem(KEPT_AS) ?? remembered;
  } catch {
    return remembered;
  }
}

/** @param {string} text */
function write(text) {
  remembered = text;
  try {
    sessionStorage.setItem(KEPT_AS, text);
  } catch {
    // a browser that keeps nothing: the conversation can be gone on with until the page is left
  }
}
