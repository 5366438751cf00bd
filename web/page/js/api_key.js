/** The API key, where the server wants one: from the address (#key=…) or by hand, kept for this tab or for this browser. */

const KEPT_AS = "antiphon.key";

/** A key in the address is taken out of it, so that it is neither seen nor shared any further. */
export function keyOfAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key")?.trim() ?? "";
  if (key) history.replaceState(history.state, "", location.pathname + location.search);
  return key;
}

/** @returns {string} empty: none is kept */
export function keptKey() {
  try {
    return sessionStorage.getItem(KEPT_AS) ?? localStorage.getItem(KEPT_AS) ?? "";
  } catch {
    return ""; // a browser that keeps nothing
  }
}

/** @param {string} key empty: what was kept is forgotten @param {boolean} long after this tab is closed, too */
export function keepKey(key, long) {
  try {
    for (const store of [sessionStorage, localStorage]) store.removeItem(KEPT_AS);
    if (key) (long ? localStorage : sessionStorage).setItem(KEPT_AS, key);
  } catch {
    // the key holds until the page is left
  }
}
