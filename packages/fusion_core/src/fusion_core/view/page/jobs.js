// Carrying drawn masks on: one job at a time, its progress, and where it is doubtful.

import { getJSON, send } from "./server.js";

const $ = (id) => document.getElementById(id);
const ASK_MS = 500;

export class Jobs {
  /** `finished` gets a job that has changed masks; `failed` shows a message. */
  constructor(session, { finished, failed }) {
    Object.assign(this, { finished, failed });
    this.number = null;
    this.doubtful = [];
    $("propagator").replaceChildren(...session.propagators.map((name) => new Option(name, name)));
    $("carry-on").disabled = !session.propagators.length || session.readOnly !== null;
    if (!session.propagators.length) $("job").textContent = Object.values(session.missing)[0] ?? "";
    $("stop-job").addEventListener("click", () => this.stop());
    this.watch();
  }

  /** Carry drawn masks on: to the frames around the one that is shown, or through the whole video. */
  async start({ entry, frame, video }, everywhere) {
    const { v, e } = entry;
    const [from, to] = everywhere ? [0, video.frames] : [Math.max(0, frame - 1), Math.min(video.frames, frame + 2)];
    try {
      await send("POST", "/api/jobs", { v, e, from, to, propagator: $("propagator").value });
      this.watch();
    } catch (error) {
      this.failed(error.message);
    }
  }

  async stop() {
    try {
      await send("DELETE", `/api/jobs/${this.number}`);
    } catch (error) {
      this.failed(error.message);
    }
  }

  async watch() {
    let wasRunning = false;
    for (;;) {
      const job = await getJSON("/api/jobs").catch(() => null); // a server that is gone is said where strokes are kept
      if (!job || (job.state !== "running" && !wasRunning && job.number !== this.number)) return;
      this.number = job.number;
      const isRunning = job.state === "running";
      wasRunning ||= isRunning;
      const share = isRunning && job.total ? ` ${Math.round((100 * job.done) / job.total)} %` : "";
      $("job").textContent = `${job.state === "running" ? "" : `${job.state}: `}${job.text}${share}`;
      $("stop-job").hidden = !isRunning;
      if (!isRunning) {
        this.doubtful = job.doubtful;
        return this.finished(job);
      }
      await new Promise((resolve) => setTimeout(resolve, ASK_MS));
    }
  }
}
