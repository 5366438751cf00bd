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
 */
function ask(path, key, headers = {}) {
  const authorization = key ? { Authorization: `Bearer ${key}` } : undefined;
  return fetch(path, { headers: { ...authorization, ...headers }, cache: "no-store", signal: AbortSignal.timeout(DEADLINE_MS) });
}

/**
 * Whether we would be let in, and what the server says if not. Status 0: nobody answered.
 * @param {string} path
 * @param {string} key
 */
export async function statusOf(path, key) {
  try {
    const answer = await ask(path, key);
    return { status: answer.status, message: answer.ok ? "" : await complaint(answer) };
  } catch {
    return { status: 0, message: "" };
  }
}

/** @param {Response} answer @returns {Promise<string>} */
async function complaint(answer) {
  try {
    return String((await answer.json()).error.message);
  } catch {
    return "";
  }
}

/** @param {string} key @returns {Promise<{status: number, voices: Voice[], message: string}>} status 0: nobody answered */
export async function voices(key) {
  try {
    const answer = await ask("/v1/voices", key);
    if (!answer.ok) return { status: answer.status, voices: [], message: await complaint(answer) };
    return { status: answer.status, voices: await answer.json(), message: "" };
  } catch {
    return { status: 0, voices: [], message: "" };
  }
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
    return answer.ok ? { name: String((await answer.json()).name), message: "" } : { name: "", message: await complaint(answer) };
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
