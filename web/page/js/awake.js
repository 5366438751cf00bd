/** The screen, which stays on while somebody talks. Browsers let go of it each time the page is hidden. */

export class Awake {
  /** @param {() => boolean} wanted */
  constructor(wanted) {
    this.wanted = wanted;
    /** @type {WakeLockSentinel|null} */
    this.lock = null;
    this.asks = false;
  }

  /** Asks for it, unless it is held or not wanted. */
  async hold() {
    if (!this.wanted() || document.hidden || !navigator.wakeLock || this.asks || this.lock?.released === false) return;
    this.asks = true;
    try {
      this.lock = await navigator.wakeLock.request("screen");
    } catch {
      // the battery is low, or the browser does not want to: the talk goes on all the same
    }
    this.asks = false;
    if (!this.wanted()) this.release(); // it ended meanwhile
  }

  release() {
    void this.lock?.release().catch(() => undefined);
    this.lock = null;
  }
}
