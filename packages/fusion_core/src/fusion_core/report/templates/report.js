"use strict";

// One file of more than 400 lines, because it becomes a part of the page, which loads nothing.
//
// The page's data: #index lists runs and expressions; #video-N holds frames and masks of a video and is unpacked
// when that video is first looked at. Masks are COCO run lengths: down the columns, background first.

const $ = (id) => document.getElementById(id);
const TRUTH = "ground truth";
const TINT = [235, 0, 140];
const MASK_COLOURS = [null, TINT];
const HEAT = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
const KEPT = 4; // unpacked videos
const PLAY_MS = 160;

const { runs, result, entries } = JSON.parse($("index").textContent);
entries.forEach((entry, number) => { entry.number = number; });
const kinds = new Map(runs.map((run) => [run.name, run]));
const unpacked = new Map();
const state = { listed: [], entry: null, video: null, frame: 0, layer: null, timer: null, link: null };

// --- data ------------------------------------------------------------------------------------------------------------

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

async function inflate(base64) {
  const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const parsed = new Promise((resolve) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", resolve, { once: true });
  else resolve();
});

async function unpack(number) {
  if (!$(`video-${number}`)) await parsed;
  const block = JSON.parse($(`video-${number}`).textContent);
  const [height, width] = block.size;
  return {
    number, width, height, names: block.names, frames: block.frames, pixels: new Map(),
    ...(await inflate(block.masks)),
  };
}

function videoOf(number) {
  const video = unpacked.get(number) ?? unpack(number);
  unpacked.delete(number);
  unpacked.set(number, video); // the latest is last
  if (unpacked.size > KEPT) unpacked.delete(unpacked.keys().next().value);
  return video;
}

/** Pixels RGBA of a frame at the size of its masks. */
function pixels(video, frame) {
  if (!video.pixels.has(frame)) video.pixels.set(frame, decode(video, frame));
  return video.pixels.get(frame);
}

async function decode(video, frame) {
  const canvas = document.createElement("canvas");
  canvas.width = video.width;
  canvas.height = video.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const picture = await createImageBitmap(new Blob([bytes(video.frames[frame])], { type: "image/webp" }));
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, video.width, video.height).data;
}

function trackOf(video, layer, expression) {
  return (layer === TRUTH ? video.truth[expression] : video.runs[layer]?.[expression]) ?? null;
}

function maskCounts(video, layer, expression, frame) {
  const number = trackOf(video, layer, expression)?.masks[frame];
  if (number === undefined || number === null) return null;
  const counts = new Uint8Array(video.width * video.height);
  addMask(counts, video.strings[number], video.width, video.height);
  return counts;
}

function voteCounts(video, layer, expression, frame) {
  const count = video.counts[layer]?.[expression];
  if (!count) return null;
  const counts = new Uint8Array(video.width * video.height);
  for (const [run, index] of count.voters) {
    const number = trackOf(video, run, index)?.masks[frame];
    if (number !== undefined && number !== null) addMask(counts, video.strings[number], video.width, video.height);
  }
  return counts;
}

// --- drawing ---------------------------------------------------------------------------------------------------------

function heatColour(share) {
  const place = share * (HEAT.length - 1), i = Math.min(Math.floor(place), HEAT.length - 2), rest = place - i;
  return HEAT[i].map((value, channel) => Math.round(value + rest * (HEAT[i + 1][channel] - value)));
}

function tint(data, width, counts, colours, strength) {
  for (let p = 0; p < counts.length; p++) {
    const n = counts[p];
    if (!n) continue;
    const colour = colours[n], x = p % width;
    const edge = colours === MASK_COLOURS && (
      !counts[p - width] || !counts[p + width] || (x > 0 && !counts[p - 1]) || (x < width - 1 && !counts[p + 1]));
    const share = edge ? 1 : colours === MASK_COLOURS ? strength : Math.sqrt(strength);
    for (let c = 0; c < 3; c++) data[4 * p + c] += share * (colour[c] - data[4 * p + c]);
  }
}

function paint(canvas, video, background, { counts, colours }) {
  const image = new ImageData(new Uint8ClampedArray(background), video.width, video.height);
  if (counts) tint(image.data, video.width, counts, colours, Number($("strength").value));
  canvas.width = video.width;
  canvas.height = video.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function coloursOf(number) {
  return [null, ...Array.from({ length: number }, (_, n) => heatColour(number === 1 ? 1 : n / (number - 1)))];
}

function showsHeat(layer) {
  return $("heat").checked && kinds.get(layer)?.kind === "vote";
}

/** What a layer shows of a frame: counts per pixel, their colours, and the rule when they are votes. */
function shownOf(video, layer, expression, frame) {
  const rule = showsHeat(layer) ? video.counts[layer]?.[expression] : null;
  if (rule) {
    return { counts: voteCounts(video, layer, expression, frame), colours: coloursOf(rule.voters.length), rule };
  }
  return { counts: maskCounts(video, layer, expression, frame), colours: MASK_COLOURS, rule: null };
}

function drawStrip() {
  const canvas = $("strip"), { video, entry, frame } = state;
  const width = (canvas.width = Math.max(1, canvas.clientWidth * devicePixelRatio));
  const height = (canvas.height = Math.max(1, canvas.clientHeight * devicePixelRatio));
  const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const values = video.disagreement[entry.index], step = width / video.names.length;
  context.fillStyle = style.getPropertyValue("--line");
  context.fillRect(0, height - 1, width, 1);
  (values ?? []).forEach((value, t) => {
    context.fillStyle = style.getPropertyValue(t === frame ? "--accent" : "--soft");
    context.fillRect(t * step, height * (1 - value), Math.max(1, step - 1), Math.max(1, height * value));
  });
  const key = trackOf(video, state.layer, entry.index)?.key;
  if (key !== undefined && key !== null) {
    context.fillStyle = style.getPropertyValue("--vote");
    context.font = `${Math.round(height * 0.55)}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillText("★", Math.min(Math.max((key + 0.5) * step, 8), width - 8), 0);
  }
}

let drawing = 0;
async function draw() {
  const turn = ++drawing, { video, entry, frame, layer } = state;
  const background = await pixels(video, frame);
  if (turn !== drawing) return; // something else is wanted by now
  const shown = shownOf(video, layer, entry.index, frame);
  paint($("big"), video, background, shown);
  $("big").setAttribute("aria-label",
    `Frame ${video.names[frame]} of ${entry.name} with the ${shown.rule ? "votes" : "mask"} of ${layer}`);
  const track = trackOf(video, layer, entry.index);
  $("caption").textContent = [layer, ...facts(track, entry, layer, frame), shown.counts ? null : "no mask here"]
    .filter(Boolean).join(" · ");
  drawLegend(shown);
  $("frame").max = video.names.length - 1;
  $("frame").value = frame;
  $("frame").setAttribute("aria-valuetext", `frame ${video.names[frame]}, ${frame + 1} of ${video.names.length}`);
  const values = video.disagreement[entry.index];
  $("where").textContent = `frame ${video.names[frame]} (${frame + 1} of ${video.names.length})` +
    (values ? `, disagreement ${values[frame].toFixed(2)}` : "");
  $("key").disabled = track === null || track.key === null;
  $("heat-control").hidden = kinds.get(layer)?.kind !== "vote";
  drawStrip();
  for (const tile of $("tiles").children) drawTile(tile, background);
  clearTimeout(state.link); // browsers allow only so many changes of the address, so not while the video plays
  state.link = setTimeout(() => history.replaceState(null, "", `#${address()}`), 400);
}

function address() {
  const { entry, video, frame } = state;
  return [entry.name, entry.expression, video.names[frame]].map(encodeURIComponent).join("/");
}

function facts(track, entry, layer, frame) {
  const score = track?.scores?.[frame], jf = entry.scores[layer];
  return [
    track && track.key === frame ? "★ key frame" : null,
    score === undefined ? null : `score ${score.toFixed(2)}`,
    jf === undefined ? null : `J&F ${(100 * jf).toFixed(1)}`,
  ].filter(Boolean);
}

function drawLegend({ rule, colours }) {
  $("legend").replaceChildren();
  if (!rule) return;
  $("legend").append(`votes, ${rule.needed} needed: `);
  for (let n = 1; n < colours.length; n++) {
    const swatch = document.createElement("span");
    const [r, g, b] = colours[n];
    swatch.textContent = n;
    swatch.style.background = `rgb(${r} ${g} ${b})`;
    swatch.style.color = 0.3 * r + 0.59 * g + 0.11 * b > 120 ? "#000" : "#fff";
    swatch.classList.toggle("needed", n === rule.needed);
    $("legend").append(swatch);
  }
}

function drawTile(tile, background) {
  const { video, entry, frame } = state, layer = tile.dataset.layer;
  const shown = shownOf(video, layer, entry.index, frame);
  paint(tile.querySelector("canvas"), video, background, shown);
  const words = facts(trackOf(video, layer, entry.index), entry, layer, frame);
  tile.querySelector(".facts").textContent = (shown.counts ? words : ["no mask here", ...words]).join(" · ");
  tile.setAttribute("aria-pressed", layer === state.layer);
}

// --- choosing --------------------------------------------------------------------------------------------------------

function layers() {
  const names = runs.map((run) => run.name);
  return state.video?.truth.some(Boolean) ? [TRUTH, ...names] : names;
}

function setLayer(layer) {
  state.layer = layer;
  $("layer").value = layer;
  for (const node of document.querySelectorAll(".node")) node.classList.toggle("chosen", node.dataset.run === layer);
  for (const arrow of document.querySelectorAll(".arrow")) {
    arrow.classList.toggle("near", arrow.dataset.source === layer || arrow.dataset.target === layer);
  }
}

function chooseLayer(layer) {
  setLayer(layer);
  if (state.video) draw();
}

function setFrame(frame) {
  if (!state.video) return;
  state.frame = Math.min(Math.max(frame, 0), state.video.names.length - 1);
  draw();
}

function buildLayers() {
  const names = layers();
  if ($("tiles").children.length === names.length && $("tiles").firstElementChild?.dataset.layer === names[0]) return;
  $("layer").replaceChildren(...names.map((name) => new Option(name, name)));
  $("tiles").replaceChildren(...names.map((name) => {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.className = `tile ${kinds.get(name)?.kind ?? "truth"}`;
    tile.dataset.layer = name;
    tile.append(document.createElement("canvas"), ...["label", "facts"].map((part) => {
      const line = document.createElement("span");
      line.className = part;
      return line;
    }));
    tile.querySelector(".label").textContent = name;
    tile.addEventListener("click", () => chooseLayer(name));
    return tile;
  }));
  if (!names.includes(state.layer)) state.layer = result;
  setLayer(state.layer);
}

async function choose(entry, frameName) {
  stop();
  state.entry = entry;
  for (const button of $("entries").querySelectorAll("button")) {
    const current = Number(button.dataset.entry) === entry.number;
    button.setAttribute("aria-current", current);
    button.tabIndex = current ? 0 : -1;
    if (current) button.scrollIntoView({ block: "nearest" });
  }
  $("expression").textContent = entry.text ?? `${entry.name}, ${entry.expression}`;
  try {
    const video = await videoOf(entry.video);
    if (state.entry !== entry) return;
    const isNew = state.video !== video;
    state.video = video;
    const named = video.names.indexOf(frameName);
    if (named >= 0) state.frame = named;
    else if (isNew) state.frame = Math.min(state.frame, video.names.length - 1);
    buildLayers();
    await draw();
  } catch (error) {
    fail(`The masks of ${entry.name} cannot be shown: ${error.message}. ` +
      "The page needs a browser of 2023 or later; if yours is, the file is damaged.");
  }
}

function fail(message) {
  $("failure").textContent = message;
  $("failure").hidden = false;
}

function step(by) {
  if (!state.listed.length) return;
  const at = state.listed.indexOf(state.entry);
  choose(state.listed[Math.min(Math.max(at + by, 0), state.listed.length - 1)]);
}

// --- list ------------------------------------------------------------------------------------------------------------

const ORDERS = {
  disagreement: (a, b) => (b.disagreement ?? -1) - (a.disagreement ?? -1),
  order: (a, b) => a.number - b.number,
  score: (a, b) => (a.scores[result] ?? 2) - (b.scores[result] ?? 2),
};

function list() {
  const words = $("find").value.toLowerCase();
  const found = entries.filter((one) => `${one.name} ${one.text ?? one.expression}`.toLowerCase().includes(words));
  state.listed = [...found].sort(ORDERS[$("sort").value]);
  $("listed").textContent = `${found.length} of ${entries.length} expressions`;
  $("entries").replaceChildren(...state.listed.map(item));
  const first = $("entries").querySelector("[aria-current=true]") ?? $("entries").querySelector("button");
  if (first) first.tabIndex = 0;
}

function item(entry) {
  const line = document.createElement("li"), button = document.createElement("button");
  const part = (name, text) => {
    const span = document.createElement("span");
    span.className = name;
    if (text) span.textContent = text;
    return span;
  };
  button.type = "button";
  button.tabIndex = -1;
  button.dataset.entry = entry.number;
  button.setAttribute("aria-current", entry === state.entry);
  const number = part("number");
  if (entry.disagreement !== null) {
    const meter = document.createElement("meter");
    meter.value = entry.disagreement;
    meter.setAttribute("aria-label", "disagreement");
    number.append(meter, entry.disagreement.toFixed(2));
  }
  const jf = entry.scores[result];
  if (jf !== undefined) number.append(`${number.hasChildNodes() ? " · " : ""}J&F ${(100 * jf).toFixed(0)}`);
  button.append(part("name", `${entry.name} / ${entry.expression}`), number, part("text", entry.text ?? ""));
  button.title = entry.text ?? "";
  button.addEventListener("click", () => choose(entry));
  line.append(button);
  return line;
}

// --- hands -----------------------------------------------------------------------------------------------------------

function stop() {
  clearInterval(state.timer);
  state.timer = null;
  $("play").textContent = "Play";
  $("play").setAttribute("aria-pressed", false);
}

function play() {
  if (state.timer) return stop();
  state.timer = setInterval(() => setFrame((state.frame + 1) % state.video.names.length), PLAY_MS);
  $("play").textContent = "Stop";
  $("play").setAttribute("aria-pressed", true);
}

function toKeyFrame() {
  const key = state.video && trackOf(state.video, state.layer, state.entry.index)?.key;
  if (typeof key === "number") setFrame(key);
}

function nextLayer(by) {
  const names = layers();
  chooseLayer(names[(names.indexOf(state.layer) + by + names.length) % names.length]);
}

function toggleHeat() {
  $("heat").checked = !$("heat").checked;
  draw();
}

const KEYS = {
  ArrowLeft: (event) => setFrame(state.frame - (event.shiftKey ? 5 : 1)),
  ArrowRight: (event) => setFrame(state.frame + (event.shiftKey ? 5 : 1)),
  Home: () => setFrame(0),
  End: () => setFrame(Infinity),
  " ": play,
  g: toKeyFrame,
  j: () => step(1),
  k: () => step(-1),
  "[": () => nextLayer(-1),
  "]": () => nextLayer(1),
  h: toggleHeat,
  "/": () => $("find").focus(),
  "?": () => $("help").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || $("help").open) return;
  const { target } = event;
  if (target.closest(".node[role=button]") && ["Enter", " "].includes(event.key)) {
    event.preventDefault();
    return chooseLayer(target.closest(".node").dataset.run);
  }
  if (target.closest("#entries") && ["ArrowDown", "ArrowUp"].includes(event.key)) {
    event.preventDefault();
    step(event.key === "ArrowDown" ? 1 : -1);
    return $("entries").querySelector("[aria-current=true]")?.focus();
  }
  if (target.matches("input[type=search]")) {
    if (event.key === "Escape" || event.key === "Enter") target.blur();
    return;
  }
  const itsOwn = { SELECT: () => true, BUTTON: () => event.key === " ", INPUT: () => event.key.length > 1 || event.key === " " };
  if (itsOwn[target.tagName]?.() || !KEYS[event.key] || !state.video) return;
  event.preventDefault();
  KEYS[event.key](event);
});

$("frame").addEventListener("input", () => setFrame(Number($("frame").value)));
$("previous").addEventListener("click", () => setFrame(state.frame - 1));
$("next").addEventListener("click", () => setFrame(state.frame + 1));
$("play").addEventListener("click", play);
$("key").addEventListener("click", toKeyFrame);
$("layer").addEventListener("change", () => chooseLayer($("layer").value));
$("heat").addEventListener("change", () => draw());
$("strength").addEventListener("input", () => draw());
$("sort").addEventListener("change", list);
$("find").addEventListener("input", list);
$("help-button").addEventListener("click", () => $("help").showModal());
$("strip").addEventListener("pointerdown", (event) => {
  const go = (move) => {
    const box = $("strip").getBoundingClientRect();
    setFrame(Math.floor(((move.clientX - box.left) / box.width) * state.video.names.length));
  };
  go(event);
  $("strip").setPointerCapture(event.pointerId);
  $("strip").onpointermove = go;
  $("strip").onpointerup = () => { $("strip").onpointermove = null; };
});
$("graph").addEventListener("click", (event) => {
  const node = event.target.closest(".node[role=button]");
  if (node) chooseLayer(node.dataset.run);
});
addEventListener("resize", () => state.video && drawStrip());

list();
state.layer = result;
{
  const [name, expression, frame] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const linked = entries.find((one) => one.name === name && one.expression === expression);
  const first = linked ?? state.listed[0];
  if (first) choose(first, frame);
}
