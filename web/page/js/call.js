/** A call: microphone, loudspeaker, wire and conversation, from the press of the button to its end. */

import { hearBy, openAudio, pageTime } from "./audio.js";
import { askForMicrophone, Microphone, whyDenied } from "./capture.js";
import { Conversation } from "./conversation.js";
import { Keepsake } from "./keepsake.js";
import * as opus from "./opus.js";
import { Player } from "./playback.js";
import { minutes } from "./server.js";
import { canTalk, underWay } from "./session_state.js";
import { session } from "./wishes.js";
import { forgetToken, Wire } from "./wire.js";

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
 */

export class Call {
  /** @param {House} house */
  constructor(house) {
    this.house = house;
    /** @type {Microphone|null} */
    this.microphone = null;
    /** @type {AudioContext|null} */
    this.context = null;
    /** The microphone's trouble: a key of strings.js, or nothing. */
    this.trouble = "";
    /** @type {WakeLockSentinel|null} */
    this.awake = null;
    this.keepsake = new Keepsake(() => house.say("keepsakeFailed"));
    /** Counts presses: who was overtaken by another gives up. */
    this.press = 0;
    this.wire = new Wire({
      key: house.key,
      session: (resumed) => this.session(resumed),
      connected: (resumed, created) => this.connected(resumed, created),
      event: (event) => this.conversation.take(event),
      lost: (reason, detail) => this.lost(reason, detail),
      failed: (reason, detail) => this.fail(reason === "key" ? "key_" : reason, detail),
      ended: () => this.over({ type: "ended" }),
    });
    this.conversation = new Conversation({
      send: (event) => this.wire.send(event),
      sendAudio: (event) => this.wire.sendAudio(event),
      changed: house.changed,
      complain: house.complain,
    });
  }

  /** @param {boolean} resumed */
  session(resumed) {
    return session(this.house.wishes, this.house.voices(), this.conversation.opus, resumed);
  }

  /** @param {boolean} [typing] without a microphone */
  async begin(typing = false) {
    if (!canTalk(this.conversation.state)) return;
    const press = ++this.press;
    this.trouble = "";
    this.conversation.happen({ type: "talk" });
    try {
      this.context = await openAudio();
      await this.context.resume();
    } catch {
      return this.fail("noAudio", "");
    }
    /** @type {MediaStream|null} */
    let stream = null;
    try {
      stream = typing ? null : await askForMicrophone(this.house.wishes.microphone);
    } catch (error) {
      return press === this.press ? this.fail(whyDenied(error), "") : undefined;
    }
    const hasOpus = await opus.isThere();
    if (press !== this.press) return stream?.getTracks().forEach((track) => track.stop());
    this.equip(this.context, stream, hasOpus);
    this.conversation.happen({ type: "granted" });
    this.wire.open();
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
    if (stream) this.listen(context, stream, hasOpus);
    this.keep();
  }

  /** @param {AudioContext} context @param {MediaStream} stream @param {boolean} hasOpus */
  listen(context, stream, hasOpus) {
    this.microphone?.close();
    this.microphone = new Microphone(context, stream, hasOpus, {
      packet: (packet, at_s) => this.conversation.hear(packet, (context.currentTime - at_s) * 1000),
      changed: (what) => {
        this.trouble = { unplugged: "hintUnplugged", silent: "hintSilent", audible: "" }[what];
        this.house.changed();
      },
    });
    this.trouble = "";
    this.keepsake.hear(this.microphone.source);
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
    if (!this.microphone || !this.context) return;
    try {
      const stream = await askForMicrophone(this.house.wishes.microphone);
      this.listen(this.context, stream, this.conversation.opus);
    } catch (error) {
      this.trouble = whyDenied(error);
    }
    this.house.changed();
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
    this.press += 1;
    this.wire.hangUp();
    this.over({ type: "ended" });
  }

  /** Forgets the conversation that could be gone on with. */
  anew() {
    forgetToken();
    this.conversation.transcript.lines = [];
    this.conversation.transcript.version += 1;
  }

  /** Nothing stays as it was since; the conversation is kept by the server. Each wait is cut short. */
  wakeUp() {
    void this.context?.resume();
    if (this.wire.waits || (this.wire.gone && underWay(this.conversation.state))) this.wire.again();
    void this.stayAwake();
  }

  // --- what happens

  /** @param {boolean} resumed @param {any} created */
  connected(resumed, created) {
    const known = this.conversation.id;
    this.conversation.connected(resumed, created);
    this.conversation.greets &&= this.house.wishes.greet && !this.house.wishes.push;
    if (resumed && known) this.house.say("resumed");
    else if (known && !resumed && this.conversation.transcript.lines.length) this.house.say("begunAnew");
    if (resumed && !this.conversation.transcript.lines.length) void this.recall();
    this.open();
    void this.stayAwake();
  }

  /** What was said before the page was loaded again. */
  async recall() {
    const found = await minutes(this.conversation.id, this.wire.token, "json");
    if (!found) return;
    this.conversation.transcript.recalled(JSON.parse(await found.text()).items);
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
    void this.keepsake.end();
    this.microphone?.close();
    this.microphone = null;
    this.conversation.player?.close();
    this.conversation.player = null;
    void this.awake?.release();
    this.awake = null;
    for (const line of this.conversation.transcript.lines.filter((one) => one.state === "open")) {
      this.conversation.transcript.ended(line.id, true);
    }
    this.conversation.happen(why);
  }

  /** The screen stays on while somebody talks. */
  async stayAwake() {
    if (canTalk(this.conversation.state) || document.hidden || !navigator.wakeLock) return;
    try {
      this.awake = await navigator.wakeLock.request("screen");
    } catch {
      // the battery is low, or the browser does not want to: the talk goes on all the same
    }
  }
}
