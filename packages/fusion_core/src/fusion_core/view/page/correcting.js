// Correcting masks: strokes, stretches, clicks, undoing, and carrying on.

import { Clicks } from "./clicks.js";
import { Corrections } from "./corrections.js";
import { Jobs } from "./jobs.js";
import { CORRECTED } from "./masks.js";
import { decodeMask, encodeMask } from "./run_lengths.js";
import { Tools } from "./tools.js";

const $ = (id) => document.getElementById(id);

export class Correcting {
  /** `state` is what is shown; `page` shows other things, and says what stands where. */
  constructor(session, state, stage, page) {
    Object.assign(this, { session, state, stage, page });
    this.clicks = new Clicks({
      place: () => ({ v: state.entry.v, frame: state.frame }),
      found: () => page.draw(),
      say: (text) => { $("clicked").textContent = text; },
      failed: page.note,
    });
    this.tools = new Tools(stage, this.clicks, {
      begin: () => this.beginStroke(), done: (mask) => this.endStroke(mask), dropped: () => page.draw(), changed: () => this.showTool(),
    });
    this.corrections = new Corrections({
      say(text, isWaiting) {
        $("saved").textContent = text;
        $("saved").classList.toggle("waiting", isWaiting);
      },
      state: (v, answer) => this.noteState(v, answer),
      kept: (stroke, mask, revision) => this.noteKept(stroke, mask, revision),
      ask: (stroke, theirs) => this.askWhose(stroke, theirs),
      failed: page.note,
    });
    this.jobs = new Jobs(session, { finished: (job) => this.showJob(job), failed: page.note });
  }

  // --- what the server says ------------------------------------------------------------------------------------------

  noteState(v, answer) {
    const { state, page } = this;
    if (state.entry?.v !== v) return;
    for (const name of ["revision", "parts", "canUndo", "canRedo"]) state.video[name] = answer[name];
    page.drawTexts();
  }

  noteKept({ v, e, frame }, mask, revision) {
    const { state, stage, page, tools } = this, { shown } = state;
    if (state.entry?.v !== v) return;
    if (mask === null) state.masks.forget(e, frame, frame + 1);
    else state.masks.put(e, frame, mask, revision);
    const isShown = shown?.layer === CORRECTED && shown.e === e && shown.frame === frame && shown.v === v;
    if (isShown && revision !== null) shown.revision = revision;
    if (mask === null || (isShown && !tools.isBusy && encodeMask(shown.mask, stage.width, stage.height) !== mask)) page.draw();
  }

  async askWhose({ frame }, theirs) {
    const { stage, page } = this;
    $("conflict-text").textContent = `Another page has changed frame ${page.frameName(frame)} since you saw it. ` +
      `Its mask has ${decodeMask(theirs.mask, stage.width, stage.height).reduce((sum, one) => sum + one, 0)} pixels.`;
    $("conflict").returnValue = "";
    $("conflict").showModal();
    await new Promise((resolve) => $("conflict").addEventListener("close", resolve, { once: true }));
    return $("conflict").returnValue || "theirs";
  }

  /** Show what the server has changed: the frame, if it is not among those seen now. */
  async show(v, changed) {
    const { state, page } = this;
    if (!changed || state.entry.v !== v) return;
    state.masks.forget(changed.e, changed.from, changed.to);
    if (changed.e !== state.entry.e) {
      state.frame = changed.from;
      return page.chooseExpression(v, changed.e);
    }
    state.marked = [null, null];
    if (state.layer !== CORRECTED) page.chooseLayer(CORRECTED);
    if (state.frame < changed.from || state.frame >= changed.to) page.setFrame(changed.from);
    else page.draw();
  }

  // --- strokes -------------------------------------------------------------------------------------------------------

  /** The mask that a stroke may change, or null if it cannot now. */
  beginStroke() {
    const { session, state, page } = this, { shown, entry, frame } = state;
    if (session.readOnly !== null) page.note(`Nothing can be corrected: ${session.readOnly}`);
    else if (this.corrections.isFull) page.note("Too many strokes wait for the server; is it still running?");
    else if (page.partAt(frame)?.locked) page.note(`Frame ${page.frameName(frame)} is locked; unlock it first.`);
    else if (shown?.layer === CORRECTED && shown.v === entry.v && shown.e === entry.e && shown.frame === frame) {
      page.note("");
      return shown.mask;
    }
    return null;
  }

  endStroke(mask) {
    const { state, stage } = this, { shown } = state;
    shown.mask = mask;
    stage.showMask(mask);
    const string = encodeMask(mask, stage.width, stage.height);
    state.masks.put(shown.e, shown.frame, string, shown.revision);
    this.corrections.draw(shown.v, shown.e, shown.frame, string, shown.revision);
  }

  /** Close the polygon, take the proposal, or keep the mask as it is. */
  confirm() {
    const { state, page, tools, clicks } = this;
    if (tools.closePolygon()) return;
    if (state.layer !== CORRECTED) return page.note("Choose the run corrected, or take this run with t.");
    if (clicks.isWaiting) return;
    const { mask: proposed } = clicks, mask = this.beginStroke();
    if (!mask) return;
    clicks.drop();
    tools.drawSketch(null);
    this.endStroke(proposed ?? mask);
  }

  chooseTool(name) {
    const { session, state, page, tools } = this;
    if (name === "click" && session.noClicks !== null) return page.note(session.noClicks);
    if (name !== "look" && state.layer !== CORRECTED) page.chooseLayer(CORRECTED);
    tools.choose(name);
  }

  showTool() {
    const { tools } = this;
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", button.dataset.tool === tools.tool);
    }
    $("swap").setAttribute("aria-pressed", tools.swapped);
    $("size").value = tools.radius;
    $("radius").textContent = tools.radius;
  }

  swap() {
    this.tools.swapped = !this.tools.swapped;
    this.showTool();
  }

  // --- stretches, undoing, carrying on -------------------------------------------------------------------------------

  async changeStretch(kind) {
    const { state, page } = this, { entry, layer } = state, [from, to] = page.stretch();
    if (kind === "take" && layer === CORRECTED) return page.note("Show the run whose masks you want to take.");
    page.note("");
    const wanted = { kind, e: entry.e, from, to, ...(kind === "take" ? { run: layer } : {}) };
    await this.show(entry.v, await this.corrections.change(entry.v, () => state.video.revision, wanted));
  }

  async turn(direction) {
    if (this.tools.drop()) return;
    this.page.note("");
    const { v } = this.state.entry;
    await this.show(v, await this.corrections.undo(v, direction));
  }

  async carryOn(everywhere) {
    this.page.note("");
    await this.corrections.flush();
    await this.jobs.start(this.state, everywhere);
  }

  async showJob(job) {
    if (!job.changed || this.state.entry?.v !== job.v) return;
    this.noteState(job.v, job);
    const [from, to] = job.changed;
    await this.show(job.v, { e: job.e, from, to });
  }

  toDoubtful() {
    const { doubtful } = this.jobs;
    if (doubtful.length) this.page.setFrame(doubtful.find((frame) => frame > this.state.frame) ?? doubtful[0]);
  }
}
