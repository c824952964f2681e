// Masks of runs and of corrections as strings, fetched in blocks of frames.

import { getJSON, getText } from "./server.js";

export const CORRECTED = -1; // in the place of a run's number
const BLOCK = 64;
const MOST_BLOCKS = 96;

export class Masks {
  constructor(v, frames) {
    this.v = v;
    this.frames = frames;
    this.blocks = new Map();
  }

  /** The mask of a frame: `{ mask, revision }`; only corrections have revisions. */
  async get(run, e, frame) {
    const block = Math.floor(frame / BLOCK), key = `${run}/${e}/${block}`;
    const found = this.blocks.get(key) ?? this.fetch(run, e, block);
    this.blocks.delete(key);
    this.blocks.set(key, found); // the latest is last
    if (this.blocks.size > MOST_BLOCKS) this.blocks.delete(this.blocks.keys().next().value);
    try {
      return (await found)[frame % BLOCK];
    } catch (error) {
      this.blocks.delete(key);
      throw error;
    }
  }

  async fetch(run, e, block) {
    const from = block * BLOCK, to = Math.min(from + BLOCK, this.frames);
    const place = `/api/videos/${this.v}`, query = `e=${e}&from=${from}&to=${to}`;
    if (run === CORRECTED) return (await getJSON(`${place}/edits?${query}`)).frames;
    return (await getText(`${place}/masks?run=${run}&${query}`)).split("\n").map((mask) => ({ mask }));
  }

  /** Note what a corrected frame is by now. */
  async put(e, frame, mask, revision) {
    const found = this.blocks.get(`${CORRECTED}/${e}/${Math.floor(frame / BLOCK)}`);
    if (found) (await found)[frame % BLOCK] = { mask, revision };
  }

  /** Corrections of these frames are asked for again. */
  forget(e, from, to) {
    for (let block = Math.floor(from / BLOCK); block * BLOCK < to; block++) {
      this.blocks.delete(`${CORRECTED}/${e}/${block}`);
    }
  }
}
