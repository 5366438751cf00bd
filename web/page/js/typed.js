/** What is typed: each text has a name and is told until the server has it, over later connections too; then it is answered. */

/** More is not taken: nobody types so much while a connection is made. */
const MOST = 20;

/** The request for a reply to what was typed. */
const ASKS = "typed_asks";

export class Typed {
  /** @param {(event: object) => boolean} send */
  constructor(send) {
    this.send = send;
    /** @type {Map<string, string>} what the server does not have yet, as far as anybody knows: by name, in order */
    this.texts = new Map();
    this.count = 0;
    /** So that names differ over loads of the page, within one conversation. */
    this.prefix = `typed_${Date.now().toString(36)}`;
    /** Another reply was under way when one was asked for. */
    this.owes = false;
  }

  /** @param {string} text @returns {string} its name; empty: there is too much already */
  add(text) {
    if (this.texts.size >= MOST) return "";
    const id = `${this.prefix}_${(this.count += 1)}`;
    this.texts.set(id, text);
    return id;
  }

  /** By its name it is there once, however often it is told. @param {string} id */
  tell(id) {
    const content = [{ type: "input_text", text: this.texts.get(id) }];
    this.send({ type: "conversation.item.create", event_id: id, item: { id, type: "message", role: "user", content } });
  }

  /** All that waits, over a new connection. */
  tellAll() {
    this.owes = false;
    for (const id of this.texts.keys()) this.tell(id);
  }

  /** The server has it. @param {string} id */
  arrived(id) {
    if (this.texts.delete(id)) this.ask();
  }

  ask() {
    this.owes = false;
    this.send({ type: "response.create", event_id: ASKS });
  }

  /**
   * The server complains, perhaps of what was typed.
   * @param {{code?: unknown, event_id?: unknown}} error
   * @returns {"refused"|"later"|""} refused: the text whose name that is; later: it is answered after the reply under way
   */
  complained({ code, event_id }) {
    if (typeof event_id !== "string") return "";
    if (this.texts.delete(event_id)) return code === "item_create_duplicate_item_id" ? "" : "refused";
    if (event_id !== ASKS || code !== "conversation_already_has_active_response") return "";
    this.owes = true;
    return "later";
  }

  /** A reply is over: the next may begin. */
  replyEnded() {
    if (this.owes) this.ask();
  }

  /** All that did not arrive is given back. @returns {[string, string][]} */
  empty() {
    const rest = [...this.texts];
    this.texts.clear();
    this.owes = false;
    return rest;
  }
}
