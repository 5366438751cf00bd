/** The microphone of a call: opened, changed for another, and what is to be said of its troubles. */

import { askForMicrophone, Microphone, stop, whyDenied } from "./capture.js";

/** Troubles that another device may end. */
const GONE = new Set(["hintUnplugged", "hintNoMicrophone"]);

/**
 * @typedef {object} Rim
 * @property {() => string} device which is wished for; empty: the system's
 * @property {(packet: Uint8Array<ArrayBuffer>, age_ms: number) => void} packet
 * @property {() => void} opened another microphone is there
 * @property {() => void} again it may be had once more
 * @property {() => void} changed
 */

export class Ears {
  /** @param {Rim} rim */
  constructor(rim) {
    this.rim = rim;
    /** @type {Microphone|null} */
    this.microphone = null;
    /** A key of strings.js, or nothing. */
    this.trouble = "";
    /** Counts what was asked for: who was overtaken by another gives up. */
    this.asked = 0;
  }

  /** @param {AudioContext} context @param {MediaStream} stream @param {boolean} opus */
  listen(context, stream, opus) {
    this.microphone?.close();
    this.microphone = new Microphone(context, stream, opus, {
      packet: (packet, at_s) => this.rim.packet(packet, (context.currentTime - at_s) * 1000),
      changed: (what) => this.troubled(what),
    });
    this.trouble = "";
    this.rim.opened();
  }

  /** Another one, in the middle of it. @param {AudioContext} context @param {boolean} opus */
  async change(context, opus) {
    const turn = ++this.asked;
    /** @type {MediaStream|null} */
    let stream = null;
    try {
      stream = await askForMicrophone(this.rim.device());
      if (turn !== this.asked) return stop(stream);
      this.listen(context, stream, opus);
    } catch (error) {
      stop(stream);
      if (turn === this.asked) this.trouble = whyDenied(error) === "micDenied" ? "hintRevoked" : "hintNoMicrophone";
    }
    this.rim.changed();
  }

  /** Something was plugged in or pulled out, which may help. */
  get hopes() {
    return GONE.has(this.trouble);
  }

  /** One that is gone is silent, too. @param {"unplugged"|"silent"|"audible"} what */
  troubled(what) {
    if (what === "unplugged") {
      this.trouble = "hintUnplugged";
      void this.askWhyGone();
    } else if (!this.trouble || this.trouble === "hintSilent") this.trouble = what === "silent" ? "hintSilent" : "";
    this.rim.changed();
  }

  /** Perhaps it is there, but not allowed any more. */
  async askWhyGone() {
    const { asked } = this;
    const status = await navigator.permissions?.query({ name: /** @type {PermissionName} */ ("microphone") }).catch(() => null);
    if (status?.state !== "denied" || asked !== this.asked) return;
    this.trouble = "hintRevoked";
    this.rim.changed();
    status.onchange = () => {
      if (status.state !== "denied" && asked === this.asked) this.rim.again();
    };
  }

  close() {
    this.asked += 1;
    this.trouble = "";
    this.microphone?.close();
    this.microphone = null;
  }
}
