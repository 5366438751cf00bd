/** Plain HTTP to the server: who can be talked to, how it is, and what was said. */

/** Nobody waits longer for an answer. */
const DEADLINE_MS = 8_000;

/**
 * @typedef {object} Voice a character, as GET /v1/voices has it
 * @property {string} name
 * @property {string} [comment]
 * @property {{type: string, text?: string, language?: string}} instructions
 * @property {{description?: string, description_link?: string, license?: string}} source
 * @property {boolean} [available]
 * @property {string} [unavailable_reason]
 */

/**
 * @param {string} path
 * @param {string} key
 * @param {Record<string, string>} [headers]
 * @param {"GET"|"POST"} [method]
 */
function ask(path, key, headers = {}, method = "GET") {
  const authorization = key ? { Authorization: `Bearer ${key}` } : undefined;
  return fetch(path, { method, headers: { ...authorization, ...headers }, cache: "no-store", signal: AbortSignal.timeout(DEADLINE_MS) });
}

/**
 * Why a conversation was refused, which a browser does not tell. Asked without a WebSocket, by the same address, key and
 * token, the door answers as it did; who is let in hears only that this is no way to talk.
 * @param {string} key @param {string} token
 * @returns {Promise<{status: number, code: string, message: string}>} status 0: nobody answered
 */
export async function whyRefused(key, token) {
  try {
    const answer = await ask("/v1/realtime", key, token ? { "X-Antiphon-Resume": token } : {}, "POST"); // a GET has no Origin
    return { status: answer.status, ...(await complaint(answer)) };
  } catch {
    return { status: 0, code: "", message: "" };
  }
}

/** The server's own words. @param {Response} answer */
async function complaint(answer) {
  try {
    const { code, message } = (await answer.json()).error;
    return { code: typeof code === "string" ? code : "", message: typeof message === "string" ? message : "" };
  } catch {
    return { code: "", message: "" };
  }
}

/** @param {string} key @returns {Promise<{status: number, voices: Voice[], message: string}>} status 0: nobody answered */
export async function voices(key) {
  try {
    const answer = await ask("/v1/voices", key);
    if (!answer.ok) return { status: answer.status, voices: [], message: (await complaint(answer)).message };
    return { status: answer.status, voices: people(await answer.json()), message: "" };
  } catch {
    return { status: 0, voices: [], message: "" };
  }
}

/** Those of them that can be shown: a server of another version may say anything. @param {unknown} found @returns {Voice[]} */
function people(found) {
  if (!Array.isArray(found)) return [];
  const named = found.filter((one) => typeof one?.name === "string");
  return named.map((one) => ({ ...one, instructions: { type: "", ...one.instructions }, source: { ...one.source } }));
}

/** Making a voice takes the server some seconds. */
const CLONING_MS = 60_000;

/**
 * Makes a voice of a recording.
 * @param {Uint8Array<ArrayBuffer>} file @param {string} key
 * @returns {Promise<{name: string, message: string}>} its name, or why there is none
 */
export async function cloneVoice(file, key) {
  const body = new FormData();
  body.set("file", new Blob([file], { type: "audio/wav" }), "voice.wav");
  const headers = key ? { Authorization: `Bearer ${key}` } : undefined;
  try {
    const answer = await fetch("/v1/voices", { method: "POST", body, headers, signal: AbortSignal.timeout(CLONING_MS) });
    return answer.ok ? { name: String((await answer.json()).name), message: "" } : { name: "", message: (await complaint(answer)).message };
  } catch {
    return { name: "", message: "" };
  }
}

/** @returns {Promise<any>} null: nobody answered */
export async function health() {
  try {
    return await (await ask("/v1/health", "")).json();
  } catch {
    return null;
  }
}

/**
 * What was said, as the server has it.
 * @param {string} session its id
 * @param {string} token
 * @param {"text"|"json"|"srt"} format
 * @returns {Promise<Blob|null>}
 */
export async function minutes(session, token, format) {
  try {
    const path = `/v1/sessions/${encodeURIComponent(session)}/transcript?format=${format}`;
    const answer = await ask(path, "", { "X-Antiphon-Resume": token });
    return answer.ok ? await answer.blob() : null;
  } catch {
    return null;
  }
}

/**
 * The same, as items.
 * @param {string} session @param {string} token
 * @returns {Promise<any[]>} none: nobody answered, or nothing was said
 */
export async function remembered(session, token) {
  try {
    const { items } = JSON.parse((await (await minutes(session, token, "json"))?.text()) ?? "{}");
    return Array.isArray(items) ? items.filter((one) => typeof one?.id === "string") : [];
  } catch {
    return [];
  }
}
