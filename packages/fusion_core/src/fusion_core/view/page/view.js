// The page: what is shown, and what keys and buttons do.

import { Correcting } from "./correcting.js";
import { Entries } from "./entries.js";
import { listen } from "./hands.js";
import { CORRECTED, Masks } from "./masks.js";
import { Pictures } from "./pictures.js";
import { addMask, decodeMask } from "./run_lengths.js";
import { getJSON } from "./server.js";
import { drawLegend, Stage } from "./stage.js";
import { drawStrip } from "./strip.js";
import { buildTiles, drawTiles } from "./tiles.js";

const $ = (id) => document.getElementById(id);
const PLAY_MS = 160, LOOK_AGAIN_MS = 2000;

const session = await getJSON("/api/session");
const state = {
  entry: null, video: null, frame: 0, direction: 1, layer: CORRECTED, shown: null, timer: null, link: null,
  marked: [null, null], masks: null, pictures: null, extras: new Map(),
};

// --- what is shown ---------------------------------------------------------------------------------------------------

const layerName = (layer) => (layer === CORRECTED ? "corrected" : session.runs[layer].name);

function layers() {
  const { video, entry } = state;
  return [CORRECTED, ...session.runs.keys()].filter((run) => run === CORRECTED || video.tracks[run][entry.e]);
}

const frameName = (frame) => state.video.names?.[frame] ?? String(frame).padStart(5, "0");

/** What was done to the frame, if anything; see `Corrections.parts` of the server. */
function partAt(frame) {
  return state.video.parts[state.entry.e].find(({ start, stop }) => start <= frame && frame < stop);
}

/** Something that the server computes once for an expression, by its address; undefined until it is there. */
function extra(path) {
  const address = `/api/videos/${state.entry.v}/${path}`;
  if (!state.extras.has(address)) {
    state.extras.set(address, undefined);
    getJSON(address).then((value) => {
      state.extras.set(address, value);
      draw();
    }, (error) => note(error.message));
  }
  return state.extras.get(address);
}

const trackOf = (layer) => extra(`track?run=${layer === CORRECTED ? session.source : layer}&e=${state.entry.e}`);
const heatOf = (layer) => ($("heat").checked && layer !== CORRECTED ? extra(`votes?run=${layer}&e=${state.entry.e}`) : null);

let drawing = 0;
async function draw() {
  const turn = ++drawing, { video, entry, frame, layer, masks, pictures } = state;
  if (!video) return;
  const heat = heatOf(layer);
  const wanted = Promise.all([ // before what the texts ask for
    pictures.get(frame, state.direction),
    masks.get(layer, entry.e, frame),
    heat ? Promise.all(heat.voters.map(([run, e]) => masks.get(run, e, frame))) : null,
  ]);
  drawTexts();
  try {
    const [bitmap, found, counted] = await wanted;
    if (turn !== drawing) return; // something else is wanted by now
    const [height, width] = video.size;
    stage.resize(width, height);
    stage.showPicture(bitmap);
    const mask = decodeMask(found.mask, width, height);
    state.shown = { layer, v: entry.v, e: entry.e, frame, mask, revision: found.revision };
    if (counted) {
      const counts = new Uint8Array(width * height);
      counted.forEach((one) => addMask(counts, one.mask, width, height));
      stage.showCounts(counts, heat.voters.length);
    } else if (!tools.stroke) stage.showProposal(mask, clicks.mask);
    drawLegend($("legend"), counted ? heat : null);
    drawCaption(mask.includes(1));
    $("stage").dataset.frame = frame; // what is on the canvas now
    if (!state.timer) await drawTiles($("tiles"), state, bitmap, () => turn === drawing); // not while it plays
  } catch (error) {
    if (error.name !== "AbortError" && turn === drawing) fail(`Frame ${frameName(frame)} cannot be shown: ${error.message}`);
  }
}

function drawTexts() {
  const { video, entry, frame, layer } = state, last = video.frames - 1;
  const values = extra(`disagreement?e=${entry.e}`), key = trackOf(layer)?.key ?? null;
  $("frame").max = last;
  $("frame").value = frame;
  const part = partAt(frame);
  const words = part ? [{ draw: "drawn", take: `taken from ${part.run}`, propagate: `carried on by ${part.run}`, clear: "not there" }[part.kind], part.locked ? "locked" : null] : [];
  const said = [`frame ${frameName(frame)} (${frame + 1} of ${video.frames})`, values ? `disagreement ${values[frame].toFixed(2)}` : null, ...words];
  $("where").textContent = said.filter(Boolean).join(", ");
  $("frame").setAttribute("aria-valuetext", $("where").textContent);
  $("key").disabled = key === null;
  $("heat-control").hidden = layer === CORRECTED;
  $("undo").disabled = !video.canUndo || session.readOnly !== null;
  $("redo").disabled = !video.canRedo || session.readOnly !== null;
  const [from, to] = stretch();
  $("marked").textContent = `frames ${frameName(from)} to ${frameName(to - 1)}`;
  for (const id of ["take", "clear", "lock", "unlock", "save"]) $(id).disabled = session.readOnly !== null;
  $("take").disabled ||= layer === CORRECTED;
  const marked = state.marked.some((one) => one !== null) ? [from, to] : null;
  drawStrip($("strip"), { frames: video.frames, frame, disagreement: values, parts: video.parts[entry.e], key, marked });
  clearTimeout(state.link); // browsers allow only so many changes of the address, so not while the video plays
  state.link = setTimeout(() => history.replaceState(null, "", `#${[entry.video, entry.expression, frameName(frame)].map(encodeURIComponent).join("/")}`), 400);
}

function drawCaption(isThere) {
  const { layer, frame } = state, track = trackOf(layer), score = layer === CORRECTED ? undefined : track?.scores?.[frame];
  $("caption").textContent = [
    layerName(layer), track?.key === frame ? "★ key frame" : null, score === undefined ? null : `score ${score.toFixed(2)}`,
    isThere ? null : "no mask here",
  ].filter(Boolean).join(" · ");
  $("picture").setAttribute("aria-label", `Frame ${frameName(frame)} of ${state.entry.video} with the mask of ${layerName(layer)}`);
}

function buildLayers() {
  const shown = layers();
  if (!shown.includes(state.layer)) state.layer = CORRECTED;
  $("layer").replaceChildren(...shown.map((layer) => new Option(layerName(layer), layer)));
  $("layer").value = state.layer;
  buildTiles($("tiles"), shown, layerName, chooseLayer);
}

// --- choosing --------------------------------------------------------------------------------------------------------

function chooseLayer(layer) {
  if (layer !== CORRECTED && tools.tool !== "look") tools.choose("look");
  state.layer = layer;
  $("layer").value = layer;
  draw();
}

function setFrame(frame) {
  if (!state.video) return;
  tools.drop();
  const wanted = Math.min(Math.max(frame, 0), state.video.frames - 1);
  if (wanted !== state.frame) state.direction = wanted > state.frame ? 1 : -1;
  state.frame = wanted;
  draw();
}

async function choose(entry, named) {
  stop();
  tools.drop();
  const isNew = state.entry?.v !== entry.v;
  state.entry = entry;
  entries.mark(entry);
  $("expression").textContent = entry.text ?? `${entry.video}, ${entry.expression}`;
  state.marked = [null, null];
  try {
    if (isNew) {
      state.video = null;
      const video = await getJSON(`/api/videos/${entry.v}`);
      if (state.entry !== entry) return;
      openVideo(entry.v, video);
      watchFile(entry.v, video);
    }
    const frame = named === undefined ? -1 : (state.video.names?.indexOf(named) ?? Number(named));
    if (frame >= 0 && frame < state.video.frames) state.frame = frame;
    buildLayers();
    note(state.video.problems.filter(Boolean).join(" "));
    await draw();
  } catch (error) {
    fail(`${entry.video} cannot be shown: ${error.message}`);
  }
}

function openVideo(v, video) {
  state.pictures?.close();
  const [height, width] = video.size;
  const reduced = session.widths.find((one) => one >= $("stage").clientWidth * devicePixelRatio);
  const shownWidth = Math.min(width, reduced ?? width), query = shownWidth < width ? `w=${shownWidth}&` : "";
  state.pictures = new Pictures(video.frames, 4 * shownWidth * height * (shownWidth / width),
    (frame) => `/api/videos/${v}/frames/${frame}.jpg?${query}k=${session.key}`);
  state.masks = new Masks(v, video.frames);
  state.extras.clear();
  state.video = video;
  state.frame = Math.min(state.frame, video.frames - 1);
}

/** Say what is wrong with a video file, once the server has read it to its end. */
async function watchFile(v, video) {
  try {
    const { isChecked, problem } = await getJSON(`/api/videos/${v}/problem`);
    if (state.video !== video) return;
    if (!isChecked) setTimeout(() => watchFile(v, video), LOOK_AGAIN_MS);
    else if (problem) fail(problem);
  } catch (error) {
    if (state.video === video) fail(error.message);
  }
}

function nextLayer(by) {
  const shown = layers();
  chooseLayer(shown[(shown.indexOf(state.layer) + by + shown.length) % shown.length]);
}

function toKeyFrame() {
  const key = trackOf(state.layer)?.key;
  if (typeof key === "number") setFrame(key);
}

/** To the nearest drawn frame before or behind this one. */
function toDrawn(by) {
  const drawn = state.video.parts[state.entry.e].filter(({ kind }) => kind === "draw")
    .flatMap(({ start, stop }) => Array.from({ length: stop - start }, (_, k) => start + k));
  const frames = drawn.filter((frame) => (by > 0 ? frame > state.frame : frame < state.frame));
  if (frames.length) setFrame(by > 0 ? frames[0] : frames[frames.length - 1]);
}

function stop() {
  clearInterval(state.timer);
  state.timer = null;
  $("play").textContent = "Play";
  $("play").setAttribute("aria-pressed", false);
}

function play() {
  if (state.timer) {
    stop();
    draw();
    return;
  }
  state.timer = setInterval(() => {
    if (Number($("stage").dataset.frame) === state.frame) setFrame((state.frame + 1) % state.video.frames);
  }, PLAY_MS);
  $("play").textContent = "Stop";
  $("play").setAttribute("aria-pressed", true);
}

function fail(message) {
  $("failure").textContent = message;
  $("failure").hidden = !message;
}

function note(message) {
  $("note").textContent = message;
  $("note").hidden = !message;
}

// --- correcting ------------------------------------------------------------------------------------------------------

const stage = new Stage($("stage"), $("sheet"), $("picture"), $("mask"), $("sketch"));
stage.onzoom = (scale) => { $("zoom").textContent = `${Math.round(100 * scale)} %`; };

const correcting = new Correcting(session, state, stage, {
  partAt, frameName, stretch, draw, drawTexts, setFrame, chooseLayer, note, chooseExpression: (v, e) => choose(entryOf(v, e)),
});
const { tools, clicks } = correcting;

const entryOf = (v, e) => entries.all.find((one) => one.v === v && one.e === e);

/** First frame of the stretch that is marked, and the one after its last; this frame where nothing is marked. */
function stretch() {
  const [from, to] = [state.marked[0] ?? state.marked[1] ?? state.frame, state.marked[1] ?? state.marked[0] ?? state.frame];
  return [Math.min(from, to), Math.max(from, to) + 1];
}

function mark(place) {
  state.marked[place] = state.frame;
  drawTexts();
}

// --- begin -----------------------------------------------------------------------------------------------------------

$("title").textContent = `Runs on ${session.dataset}${session.split ? `, split ${session.split}` : ""}`;
$("about").textContent = `${session.videos.length} videos, ${session.runs.length} runs; corrections begin from ${session.runs[session.source].name}`;
document.title = `${session.dataset} - fusion-core view`;
fail(session.videos.filter(({ problem }) => problem).map(({ problem }) => problem).join(" "));
if (session.readOnly !== null) note(`Nothing can be corrected: ${session.readOnly}`);

const entries = new Entries(session.videos, choose);
listen({
  state, stage, entries, correcting, setFrame, toDrawn, play, toKeyFrame, choose, chooseLayer, nextLayer, mark, draw, drawTexts,
});
{
  const [video, expression, frame] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const linked = entries.all.find((one) => one.video === video && one.expression === expression);
  const first = linked ?? entries.all[0];
  if (first) choose(first, linked && frame);
}
correcting.showTool();
