// Frames of one video as bitmaps: those around the one that is shown are fetched ahead.

import { getBlob } from "./server.js";

const AHEAD = 12, BEHIND = 8;
const AT_ONCE = 4; // of the six connections that browsers allow a host
const MOST_BYTES = 200e6;

export class Pictures {
  /** `address` gives the address of a frame; `bytes` is what a bitmap takes. */
  constructor(count, bytes, address) {
    this.count = count;
    this.address = address;
    this.room = Math.max(3, Math.min(AHEAD + BEHIND + 1, Math.floor(MOST_BYTES / bytes)));
    this.kept = new Map(); // frame -> { promise, bitmap, abort }
    this.queue = [];
    this.running = 0;
  }

  /** The bitmap of a frame; frames around it follow, more of them in the direction of travel. */
  get(frame, direction = 1) {
    const wanted = this.around(frame, direction);
    const keep = new Set(wanted);
    for (const [other, entry] of this.kept) {
      if (keep.has(other)) continue;
      this.kept.delete(other);
      entry.abort.abort();
      entry.bitmap?.close();
    }
    this.queue = wanted.filter((other) => !this.kept.has(other));
    if (!this.kept.has(frame)) {
      this.queue = this.queue.filter((other) => other !== frame);
      this.start(frame); // and the others when it is there
    } else this.fill();
    return this.kept.get(frame).promise;
  }

  around(frame, direction) {
    const ahead = Math.min(AHEAD, Math.ceil(((this.room - 1) * AHEAD) / (AHEAD + BEHIND)));
    const behind = this.room - 1 - ahead;
    const frames = [frame];
    for (let step = 1; step <= Math.max(ahead, behind); step++) {
      if (step <= ahead) frames.push(frame + step * direction);
      if (step <= behind) frames.push(frame - step * direction);
    }
    return frames.filter((other) => other >= 0 && other < this.count);
  }

  fill() {
    while (this.running < AT_ONCE && this.queue.length) this.start(this.queue.shift());
  }

  start(frame) {
    const abort = new AbortController(), entry = { abort, bitmap: null };
    this.running++;
    entry.promise = getBlob(this.address(frame), abort.signal)
      .then((blob) => createImageBitmap(blob, { imageOrientation: "none" }))
      .then((bitmap) => {
        if (abort.signal.aborted) bitmap.close();
        else entry.bitmap = bitmap;
        return bitmap;
      })
      .finally(() => {
        this.running--;
        this.fill();
      });
    entry.promise.catch(() => this.kept.get(frame) === entry && this.kept.delete(frame)); // asked for again next time
    this.kept.set(frame, entry);
  }

  close() {
    this.queue = [];
    for (const entry of this.kept.values()) {
      entry.abort.abort();
      entry.bitmap?.close();
    }
    this.kept.clear();
  }
}
