/** Both voices of a conversation as a sound file that stays in this browser, for who wished for it. */

/** Kinds of files, the best first; browsers write one or another. */
const KINDS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];

/** Pieces of it are handed over so often, so that little is lost if the page dies. */
const PIECE_MS = 5_000;

/** No longer: an hour is some 30 MB. */
const LONGEST_PIECES = (60 * 60 * 1000) / PIECE_MS;

/** Two voices, of which mostly one speaks. */
const BITS_PER_S = 64_000;

export class Keepsake {
  /** @param {() => void} failed it does not go on; what was kept until then is there */
  constructor(failed) {
    this.failed = failed;
    /** @type {Blob[]} */
    this.pieces = [];
    /** @type {MediaRecorder|null} */
    this.recorder = null;
    /** @type {MediaStreamAudioDestinationNode|null} */
    this.both = null;
    /** @type {GainNode|null} */
    this.you = null;
    /** @type {AudioNode|null} */
    this.them = null;
  }

  get runs() {
    return this.recorder !== null;
  }

  /**
   * From now on, in place of what was kept before.
   * @param {AudioContext} context @param {AudioNode|null} you @param {AudioNode} them
   */
  begin(context, you, them) {
    void this.end();
    this.both = new MediaStreamAudioDestinationNode(context);
    this.you = new GainNode(context);
    this.them = them;
    this.you.connect(this.both);
    them.connect(this.both);
    this.hear(you);
    try {
      this.recorder = this.recorded(this.both.stream);
    } catch (error) {
      console.warn("antiphon: this browser records nothing", error);
      void this.end();
      this.failed();
    }
  }

  /** @param {MediaStream} stream */
  recorded(stream) {
    const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
    const recorder = new MediaRecorder(stream, { audioBitsPerSecond: BITS_PER_S, ...(mimeType ? { mimeType } : {}) });
    /** @type {Blob[]} its own: the last piece of another recorder may still be on its way */
    const pieces = [];
    recorder.ondataavailable = (event) => {
      if (event.data.size) pieces.push(event.data);
      if (pieces.length >= LONGEST_PIECES && recorder === this.recorder) void this.end();
    };
    recorder.onerror = () => {
      if (recorder !== this.recorder) return;
      void this.end();
      this.failed();
    };
    recorder.start(PIECE_MS);
    this.pieces = pieces;
    return recorder;
  }

  /** Another microphone. @param {AudioNode|null} you */
  hear(you) {
    if (this.you) you?.connect(this.you);
  }

  /** What the server does not hear is not kept either. @param {boolean} closed */
  shut(closed) {
    if (this.you) this.you.gain.value = closed ? 0 : 1;
  }

  /** @returns {Promise<void>} once the last piece is there */
  end() {
    const { recorder, both } = this;
    if (both) this.them?.disconnect(both);
    this.recorder = this.both = this.you = this.them = null;
    if (!recorder || recorder.state === "inactive") return Promise.resolve();
    return new Promise((resolve) => {
      recorder.onstop = () => resolve();
      recorder.stop();
    });
  }

  /** The file, as far as it goes; null: nothing was kept. @returns {{blob: Blob, suffix: string}|null} */
  get file() {
    if (!this.pieces.length) return null;
    const blob = new Blob(this.pieces, { type: this.pieces[0].type });
    const suffix = blob.type.includes("mp4") ? "m4a" : blob.type.includes("ogg") ? "ogg" : "webm";
    return { blob, suffix };
  }
}
