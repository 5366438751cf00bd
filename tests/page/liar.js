/**
 * Stands at the far side of the page's WebSocket, where `liar.lies`: it says what nobody should, in any order, and is
 * seeded, so that what was found is found again.
 */
(() => {
  const Real = globalThis.WebSocket;
  /** @type {any} */
  const liar = { lies: false, refuses: false, greets: true, sockets: [], said: [] };
  globalThis.liar = liar;

  class Lie {
    constructor() {
      this.readyState = 0;
      this.bufferedAmount = 0;
      liar.sockets.push(this);
      setTimeout(() => (liar.refuses ? this.shut(1006) : this.stand()));
    }

    stand() {
      if (this.readyState) return;
      this.readyState = 1;
      this.onopen?.({});
      if (liar.greets) this.say({ type: "session.created", session: { id: "sess_lie", antiphon: { resume_token: "lie.secret", resumed: liar.sockets.length > 1 } } });
    }

    /** @param {unknown} what */
    say(what) {
      this.onmessage?.({ data: typeof what === "string" || what instanceof Blob ? what : JSON.stringify(what) });
    }

    /** @param {number} code @param {string} [reason] */
    shut(code, reason = "") {
      if (this.readyState === 3) return;
      this.readyState = 3;
      this.onclose?.({ code, reason, wasClean: code !== 1006 });
    }

    send(data) {
      liar.said.push(JSON.parse(data));
      liar.said.splice(0, liar.said.length - 500);
    }

    close(code = 1005) {
      setTimeout(() => this.shut(code));
    }
  }

  globalThis.WebSocket = /** @type {any} */ (
    new Proxy(Real, { construct: (target, handshake) => (liar.lies ? new Lie() : new target(...handshake)) })
  );

  /** Numbers from 0 to 1. */
  function dice(seed) {
    let state = seed * 7919 + 1;
    return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  }

  const TYPES = [
    "session.created", "session.updated", "antiphon.queued", "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
    "antiphon.input_audio_transcription.partial", "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.failed", "conversation.item.added", "conversation.item.retrieved", "response.created",
    "response.output_item.added", "response.output_audio_transcript.delta", "response.output_text.delta", "response.output_audio.delta",
    "response.output_audio.done", "response.done", "antiphon.output.muted", "antiphon.output.resumed", "error", "of.tomorrow", "constructor",
    "__proto__", "toString", "",
  ];
  const ODD = [
    null, undefined, 0, -1, 5, 1e9, 1e300, NaN, true, "", "x", "0", " ", "\u0000", "x".repeat(300_000), [], [null], {}, { toString: 5 }, [[[]]], { length: 3 },
    "<img src=x onerror=alert(1)>", "\ud800",
  ];
  const IDS = ["r1", "r2", "i1", "i2", "i3"];
  /** Bytes that are no Opus packets, and one that is silence. */
  const SOUNDS = ["AAAA", "%%%", "+P/+", "//////////8=", "", "A".repeat(40_000)];
  const CODES = [1000, 1001, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 1015, 3000, 4000, 4404, 4409, 4999];

  /** Something that looks like an event. */
  function event(random) {
    const one = (from) => from[Math.floor(random() * from.length)];
    /** What should stand there, or now and then something else. */
    const or = (...well) => (random() < 0.75 ? one(well) : one(ODD));
    const words = () => [{ text: or("a ", "word "), start_ms: or(0, 20, 400) }, or({ text: "b", start_ms: 900 })];
    return {
      type: one(TYPES),
      event_id: or("e1", "typed_asks"), item_id: or(...IDS), response_id: or(...IDS), place: or(1, 2, 3), text: or("hm", "what", ""), transcript: or("said so", ""),
      delta: or(...SOUNDS, "word ", "word "), audio_start_ms: or(0, 500), audio_end_ms: or(0, 500, 700),
      session: or({ id: or("s1"), antiphon: or({ resume_token: or("t.t"), resumed: or(true, false) }) }),
      item: or({ id: or(...IDS), type: or("message", "function_call"), role: or("user", "assistant"), content: or([{ type: "input_text", text: or("typed") }]) }),
      response: or({ id: or(...IDS), status: or("completed", "cancelled", "failed"), status_details: or({ reason: "turn_detected" }), antiphon: or({ heard: or("a "), llm_first_token_ms: or(5), tts_first_audio_ms: or(7) }) }),
      antiphon: or({ packets: or([3], [1, 2], [9000, -1]), start_ms: or(0, 20, 1000), words: random() < 0.5 ? words() : or(undefined) }),
      error: or({ code: or("stage_failed", "conversation_already_has_active_response"), message: or("it failed"), event_id: or("e1", "typed_asks") }),
    };
  }

  /** A message as it may come: mostly an event. */
  function message(random) {
    const found = random();
    if (found < 0.9) return event(random);
    if (found < 0.95) return JSON.stringify(event(random)).slice(0, 50);
    return [new Blob(["{}"]), "null", "[]", "5", "{", '"', "[".repeat(20_000)][Math.floor(random() * 7)];
  }

  const settle = () => new Promise((done) => setTimeout(done));

  /** A conversation with a liar, from Talk to whatever comes of it. Afterwards there must be a way back. @param {number} seed */
  liar.converse = async (seed) => {
    const random = dice(seed);
    const { call, conversation } = globalThis.antiphon;
    liar.lies = true;
    liar.greets = random() < 0.9;
    liar.refuses = random() < 0.05;
    await call.begin(true);
    for (let step = 0; step < 5 + 30 * random(); step += 1) {
      const socket = liar.sockets.at(-1);
      const dies = random();
      if (dies < 0.9) socket?.say(message(random));
      else if (dies < 0.93) socket?.shut(CODES[Math.floor(random() * CODES.length)], random() < 0.3 ? "this session goes on over another connection" : "");
      else [() => conversation.interrupt(), () => conversation.type("Hello"), () => call.toggleMute(), () => call.hold(), () => call.letGo(), () => call.wakeUp(), () => call.reconfigure()][Math.floor(random() * 7)]();
      if (random() < 0.3) await settle();
    }
    await settle();
    document.querySelector("#typed").value = "";
    if (!["idle", "failed"].includes(conversation.state.link)) document.querySelector("#talk").click();
    await settle();
    const talk = document.querySelector("#talk").textContent;
    const { link } = conversation.state;
    const waits = call.wire.timer !== undefined || call.wire.looks !== undefined || call.wire.socket !== null;
    call.anew();
    if (conversation.state.closed) call.toggleMute();
    return ["idle", "failed"].includes(link) && /^(Talk|Talk again|Go on)$/.test(talk) && !waits ? "" : `seed ${seed}: ${link}, ${talk}, ${waits}`;
  };
})();
