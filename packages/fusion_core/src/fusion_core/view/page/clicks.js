// What the user clicks at in a frame, points and a box, and the mask that the server proposes for it.

import { decodeMask } from "./run_lengths.js";
import { send } from "./server.js";

export class Clicks {
  /**
   * `place` gives the video and the frame; `found` is called when there is another proposal; `say` tells what to do,
   * `failed` what went wrong.
   */
  constructor({ place, found, say, failed }) {
    Object.assign(this, { place, found, say, failed });
    this.asking = null;
    this.clear();
  }

  clear() {
    this.points = []; // [x, y] in pixels of the video
    this.labels = []; // 1: in the object, 0: beside it
    this.box = null; // [left, top, right, bottom]
    this.mask = null;
    this.say("");
  }

  get isBegun() {
    return this.points.length > 0 || this.box !== null;
  }

  get isWaiting() {
    return this.isBegun && this.asking !== null;
  }

  /** Give the points and the proposal up; whether there were any. */
  drop() {
    const was = this.isBegun;
    this.clear();
    return was;
  }

  point(at, label, size) {
    this.points.push(inside(at, size));
    this.labels.push(label);
    this.ask(size);
  }

  around(a, b, size) {
    const [[ax, ay], [bx, by]] = [inside(a, size), inside(b, size)];
    if (ax === bx || ay === by) return;
    this.box = [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
    this.ask(size);
  }

  /** Ask for a mask of all that is clicked at; one question at a time, and the last one counts. */
  ask(size) {
    if (!this.box && !this.labels.includes(1)) return this.say("click at the object, too");
    this.say("looking …");
    this.size = size;
    this.asking ??= this.askAll().finally(() => { this.asking = null; });
  }

  async askAll() {
    for (;;) {
      const { points, labels, box, size: [width, height] } = this, count = points.length, { v, frame } = this.place();
      const isOld = () => this.points !== points || this.points.length !== count || this.box !== box;
      try {
        const { mask } = await send("POST", `/api/videos/${v}/clicks`, { frame, points, labels, ...(box ? { box } : {}) });
        if (!isOld()) {
          this.mask = decodeMask(mask, width, height);
          this.say(this.mask.includes(1) ? "Enter keeps it, Esc drops it" : "nothing found there");
          return this.found();
        }
      } catch (error) {
        if (!isOld()) {
          this.say("");
          return this.failed(error.message);
        }
      }
      if (!this.isBegun) return;
    }
  }
}

const inside = ([x, y], [width, height]) => [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
