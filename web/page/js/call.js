/** A call: microphone, loudspeaker, wire and conversation, from the press of the button to its end. */

import { hearBy, openAudio, pageTime, patientAudio } from "./audio.js";
import { Awake } from "./awake.js";
import { askForMicrophone, stop, whyDenied } from "./capture.js";
import { Conversation } from "./conversation.js";
import { Ears } from "./ears.js";
import { Keepsake } from "./keepsake.js";
import * as opus from "./opus.js";
import { Player } from "./playback.js";
import { remembered } from "./server.js";
import { canTalk, underWay } from "./session_state.js";
import { forgetToken } from "./token.js";
import { session } from "./wishes.js";
import { Wire } from "./wire.js";

/**
 * @typedef {import("./wishes.js").Wishes} Wishes
 *
 * @typedef {object} House what a call needs of the page
 * @property {Wishes} wishes
 * @property {() => import("./server.js").Voice[]} voices
 * @property {() => string} key
 * @property {() => void} changed
 * @property {(text: string) => void} complain
 * @property {(name: string) => void} say a key of strings.js, between the lines
 * @property {(text: string) => void} giveBack what was typed and never arrived
 */

/** Why no call can begin: a key of strings.js. */
class Unready extends Error {}

export class Call {
  /** @param {House} house */
  constructor(house) {
    this.house = house;
    /** @type {AudioContext|null} */
    this.context = null;
    this.awake = new Awake(() => !canTalk(this.conversation.state));
    this.ears = new Ears({
      device: () => house.wishes.microphone,
      packet: (packet, age_ms) => this.conversation.hear(packet, age_ms),
      opened: () => this.opened(),
      again: () => void this.changeMicrophone(),
      changed: house.changed,
    });
    this.keepsake = new Keepsake(() => house.say("keepsakeFailed"));
    /** Counts presses: who was overtaken by another gives up. */
    this.press = 0;
    /** The server did not answer when it was asked who can be talked to. */
    this.away = false;
    /** Something may have been said while no connection stood. */
    this.missed = false;
    this.wire = new Wire({
      key: house.key,
      session: (resumed) => this.session(resumed),
      connected: (resumed, created) => this.connected(resumed, created),
      event: (event) => {
        this.conversation.take(event);
        if (event.type === "session.updated") void this.recall(); // what is under way was told again before that
      },
      lost: (reason, detail) => this.lost(reason, detail),
      failed: (reason, detail) => this.fail(reason, reason === "key_" ? "" : detail),
      ended: (reason) => this.ended(reason),
      question: () => this.conversation.question(),
    });
    this.conversation = new Conversation({
      send: (event) => this.wire.send(event),
      sendAudio: (event) => this.wire.sendAudio(event),
      changed: house.changed,
      complain: house.complain,
    });
  }

  get microphone() {
    return this.ears.microphone;
  }

  /** The loudspeaker's or the microphone's: a key of strings.js, or nothing. */
  get trouble() {
    const still = this.context && this.conversation.player && this.context.state !== "running";
    return still ? "hintNoSound" : this.ears.trouble;
  }

  /** @param {boolean} resumed */
  session(resumed) {
    const made = session(this.house.wishes, this.house.voices(), this.conversation.opus, resumed);
    return this.conversation.player ? made : { ...made, output_modalities: ["text"] };
  }

  /** @param {boolean} [typing] without a microphone */
  async begin(typing = false) {
    if (!canTalk(this.conversation.state)) return;
    const press = ++this.press;
    this.conversation.happen({ type: "talk" });
    try {
      await this.prepare(typing, () => press === this.press);
    } catch (error) {
      if (press !== this.press) return;
      if (!(error instanceof Unready)) console.warn("antiphon: no call could begin", error);
      this.fail(error instanceof Unready ? error.message : "noAudio", "");
    }
  }

  /** @param {boolean} typing @param {() => boolean} wanted nothing overtook it */
  async prepare(typing, wanted) {
    const hears = "audioWorklet" in BaseAudioContext.prototype; // pages of plain http have none
    if (!hears && !typing) throw new Unready(isSecureContext ? "noAudio" : "insecure");
    if (hears) void openAudio().catch(() => undefined); // in the moment of the press, for browsers that want that
    const stream = typing ? null : await this.microphoneOrWhy();
    try {
      const hasOpus = await opus.isThere();
      if (wanted()) this.conversation.happen({ type: "granted" });
      const context = hears ? await patientAudio(wanted, () => this.lost("away", "")) : null;
      if (!wanted()) return stop(stream);
      this.context = context;
      if (context) this.equip(context, stream, hasOpus);
      this.wire.open();
    } catch (error) {
      stop(stream);
      throw error;
    }
  }

  async microphoneOrWhy() {
    try {
      return await askForMicrophone(this.house.wishes.microphone);
    } catch (error) {
      throw new Unready(whyDenied(error));
    }
  }

  /** @param {AudioContext} context @param {MediaStream|null} stream @param {boolean} hasOpus */
  equip(context, stream, hasOpus) {
    const { conversation } = this;
    conversation.opus = hasOpus;
    conversation.player = new Player(context, hasOpus, (report) => {
      const late_ms = (context.outputLatency || context.baseLatency || 0) * 1000;
      conversation.played(report, pageTime(context, report.at_s) + late_ms);
    });
    conversation.player.volume = this.house.wishes.volume;
    void hearBy(context, this.house.wishes.speaker);
    context.onstatechange = () => this.house.changed();
    if (stream) this.ears.listen(context, stream, hasOpus);
    this.keep();
  }

  /** Another microphone is there. */
  opened() {
    if (this.microphone) this.keepsake.hear(this.microphone.source);
    this.open();
  }

  /** Begins or ends the file of both voices, as the user wishes. */
  keep() {
    const { player } = this.conversation;
    const wished = this.house.wishes.keepsake && player !== null;
    if (!wished) void this.keepsake.end();
    else if (!this.keepsake.runs && this.context) this.keepsake.begin(this.context, this.microphone?.source ?? null, player.meter);
    this.open();
  }

  /** Another microphone, in the middle of it. */
  async changeMicrophone() {
    if (this.context && this.conversation.player) await this.ears.change(this.context, this.conversation.opus);
  }

  /** Something was plugged in or pulled out. */
  devicesChanged() {
    if (this.ears.hopes) void this.changeMicrophone();
  }

  /** Lets the microphone through or not: as the user wishes, and with push to talk only while the key is down. */
  open() {
    if (!this.microphone) return;
    const { state } = this.conversation;
    this.microphone.closed = state.closed || (this.house.wishes.push && !state.voice);
    this.keepsake.shut(this.microphone.closed);
  }

  toggleMute() {
    this.conversation.happen({ type: "mic", closed: !this.conversation.state.closed });
    this.open();
  }

  hold() {
    if (this.conversation.state.link !== "live") return;
    this.conversation.press();
    this.open();
  }

  letGo() {
    this.conversation.letGo();
    this.open();
  }

  /** What was chosen while it is under way. The voice is locked. */
  reconfigure() {
    if (this.conversation.state.link === "live") this.wire.send({ type: "session.update", session: this.session(true) });
    this.open();
  }

  /** The user is done with it. */
  end() {
    this.wire.hangUp();
    this.over({ type: "ended" });
  }

  /** The server said goodbye, or the conversation was taken away. @param {string} reason */
  ended(reason) {
    if (reason) this.house.say(reason);
    this.over({ type: "ended", reason });
  }

  /** Forgets the conversation that could be gone on with. */
  anew() {
    if (!canTalk(this.conversation.state)) return;
    forgetToken();
    this.conversation.happen({ type: "ended" });
    this.conversation.id = "";
    this.conversation.transcript.lines = [];
    this.conversation.transcript.version += 1;
  }

  /** Nothing stays as it was since; the conversation is kept by the server. Each wait is cut short. */
  wakeUp() {
    void this.context?.resume();
    if (underWay(this.conversation.state)) this.wire.wakeUp();
    void this.awake.hold();
  }

  // --- what happens

  /** @param {boolean} resumed @param {any} created */
  connected(resumed, created) {
    const known = this.conversation.id;
    this.conversation.connected(resumed, created);
    this.conversation.greets &&= this.house.wishes.greet && !this.house.wishes.push;
    if (resumed && known) this.house.say("resumed");
    else if (known && !resumed && this.conversation.transcript.lines.length) this.house.say("begunAnew");
    this.missed = resumed;
    this.open();
    void this.awake.hold();
  }

  /** What was said before the page was loaded, or while nothing connected it. */
  async recall() {
    if (!this.missed) return;
    this.missed = false;
    const { conversation } = this;
    const { id } = conversation;
    const items = await remembered(id, this.wire.token);
    if (id !== conversation.id || !items.length) return;
    conversation.transcript.recalled(items, conversation.state.reply ? conversation.item : "");
    this.house.changed();
  }

  /** @param {string} reason @param {string} detail */
  lost(reason, detail) {
    this.conversation.player?.stop();
    this.conversation.happen({ type: "lost", reason, detail });
    if (reason === "forgotten") this.house.say("forgotten");
  }

  /** @param {string} reason @param {string} detail */
  fail(reason, detail) {
    this.over({ type: "failed", reason, detail });
  }

  /** @param {import("./session_state.js").Happening} why */
  over(why) {
    this.press += 1;
    this.wire.drop();
    void this.keepsake.end();
    this.ears.close();
    this.conversation.player?.close();
    this.conversation.player = null;
    this.awake.release();
    const rest = this.conversation.typed.empty();
    for (const [id] of rest) this.conversation.transcript.remove(id);
    if (rest.length) this.house.giveBack(rest.map(([, text]) => text).join(" "));
    this.conversation.closeLines();
    this.conversation.happen(why);
  }
}
