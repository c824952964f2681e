// Strokes on their way to the server, one after another; nothing is forgotten before the server has it on its disk.

import { send, ServerError } from "./server.js";

const MOST_WAITING = 100;
const RETRY_MS = 2000;

export class Corrections {
  /**
   * `say` shows what is kept and what waits; `state` gets what the server says of a video after each change;
   * `kept` gets a frame's mask and revision; `ask` decides between two masks of a frame: "mine" or "theirs".
   */
  constructor({ say, state, kept, ask, failed }) {
    Object.assign(this, { say, state, kept, ask, failed });
    this.waiting = []; // { v, e, frame, mask, seen }
    this.sending = null;
    addEventListener("beforeunload", (event) => this.waiting.length && event.preventDefault());
  }

  get isFull() {
    return this.waiting.length >= MOST_WAITING;
  }

  /** A frame has a new mask, drawn over the revision `seen`. */
  draw(v, e, frame, mask, seen) {
    this.waiting.push({ v, e, frame, mask, seen });
    this.tell();
    this.flush();
  }

  tell() {
    this.say(this.waiting.length ? `not kept yet: ${this.waiting.length}` : "kept", this.waiting.length > 0);
  }

  /** Resolves when everything that waits is on the server's disk. */
  flush() {
    this.sending ??= this.sendAll().finally(() => { this.sending = null; });
    return this.sending;
  }

  async sendAll() {
    while (this.waiting.length) {
      const stroke = this.waiting[0];
      try {
        const answer = await send("PUT", this.address(stroke), stroke.mask, stroke.seen);
        this.settle(stroke, stroke.mask, answer.frame, answer);
      } catch (error) {
        await this.recover(stroke, error);
      }
      this.tell();
    }
  }

  address({ v, e, frame }) {
    return `/api/videos/${v}/edits/${e}/${frame}`;
  }

  settle(stroke, mask, revision, answer) {
    this.waiting.shift();
    for (const later of this.waiting) {
      if (later.v === stroke.v && later.e === stroke.e && later.frame === stroke.frame) later.seen = revision;
    }
    this.kept(stroke, mask, revision);
    this.state(stroke.v, answer);
  }

  async recover(stroke, error) {
    if (!(error instanceof ServerError)) { // the server is gone, or the network
      this.say(`not kept: the server does not answer; ${this.waiting.length} waiting`, true);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    } else if (error.status === 412) {
      if ((await this.ask(stroke, error.body)) === "mine") stroke.seen = error.body.revision;
      else {
        const same = ({ v, e, frame }) => v === stroke.v && e === stroke.e && frame === stroke.frame;
        this.waiting = [stroke, ...this.waiting.filter((later) => !same(later))];
        this.settle(stroke, error.body.mask, error.body.revision, error.body);
      }
    } else {
      this.waiting.shift();
      this.failed(error.message);
      this.kept(stroke, null, null);
    }
  }

  /** Take, clear, lock or unlock a stretch of frames. */
  async change(v, revision, wanted) {
    await this.flush();
    return this.turn(v, () => send("POST", `/api/videos/${v}/stretches`, wanted, revision()));
  }

  async undo(v, direction) {
    await this.flush();
    return this.turn(v, () => send("POST", `/api/videos/${v}/${direction}`));
  }

  async turn(v, ask) {
    try {
      const answer = await ask();
      this.state(v, answer);
      this.tell();
      return answer.changed;
    } catch (error) {
      if (error.body?.parts) this.state(v, error.body);
      this.failed(error.status === 412 ? `${error.message}; look at it, then do it again` : error.message);
      return null;
    }
  }

  async save() {
    await this.flush();
    this.say("saving the run …", true);
    try {
      const { path } = await send("POST", "/api/save");
      this.say(`saved as ${path}`, false);
    } catch (error) {
      this.tell();
      this.failed(error.message);
    }
  }
}
