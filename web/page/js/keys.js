/** The keyboard: single keys where nobody types, and the space bar for push to talk. */

/**
 * @typedef {object} Deeds
 * @property {() => boolean} singles whether single keys act
 * @property {() => boolean} pushes whether the space bar talks now
 * @property {Record<string, () => void>} keys by lower-case letter
 * @property {() => void} press
 * @property {() => void} letGo
 */

/** @param {Deeds} deeds */
export function listen(deeds) {
  let down = false;
  const letGo = () => {
    if (down) deeds.letGo();
    down = false;
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    if (event.code === "Space" && deeds.pushes() && !isButton(event.target)) {
      event.preventDefault();
      if (!down && !event.repeat) {
        down = true;
        deeds.press();
      }
    } else if (deeds.singles() && !event.repeat && Object.hasOwn(deeds.keys, event.key.toLowerCase())) {
      deeds.keys[event.key.toLowerCase()]();
    }
  });
  document.addEventListener("keyup", (event) => event.code === "Space" && letGo());
  addEventListener("blur", letGo);
}

/** @param {EventTarget|null} target */
function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName));
}

/** The space bar presses it. @param {EventTarget|null} target */
function isButton(target) {
  return target instanceof HTMLElement && target.closest("button, a, summary") !== null;
}
