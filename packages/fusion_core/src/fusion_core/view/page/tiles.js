// Small pictures of every run at the frame that is shown.

import { CORRECTED } from "./masks.js";
import { decodeMask } from "./run_lengths.js";
import { TINT } from "./stage.js";

const TILE_WIDTH = 240;

/** A button for each run. */
export function buildTiles(box, layers, nameOf, choose) {
  box.replaceChildren(...layers.map((layer) => {
    const tile = document.createElement("button"), label = document.createElement("span");
    tile.type = "button";
    tile.className = layer === CORRECTED ? "tile corrected" : "tile";
    tile.dataset.layer = layer;
    label.className = "label";
    label.textContent = nameOf(layer);
    tile.append(document.createElement("canvas"), label);
    tile.addEventListener("click", () => choose(layer));
    return tile;
  }));
}

/** Draw the masks of every run over the picture, as long as they are wanted. */
export async function drawTiles(box, { entry, frame, masks, video, layer: chosen }, bitmap, isWanted) {
  const [height, width] = video.size;
  await Promise.all([...box.children].map(async (tile) => {
    const layer = Number(tile.dataset.layer), canvas = tile.querySelector("canvas");
    const { mask } = await masks.get(layer, entry.e, frame);
    if (!isWanted()) return;
    tile.setAttribute("aria-pressed", layer === chosen);
    canvas.width = Math.min(width, TILE_WIDTH);
    canvas.height = Math.max(1, Math.round((canvas.width * height) / width));
    drawTile(canvas, bitmap, decodeMask(mask, width, height), width, height);
  }));
}

/** Draw a picture with a mask over it, reduced, on a canvas of its own. */
function drawTile(canvas, bitmap, mask, width, height) {
  const scale = canvas.width / width, context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let y = 0; y < canvas.height; y++) {
    const row = Math.min(height - 1, Math.floor((y + 0.5) / scale)) * width;
    for (let x = 0; x < canvas.width; x++) {
      if (!mask[row + Math.min(width - 1, Math.floor((x + 0.5) / scale))]) continue;
      const p = 4 * (y * canvas.width + x);
      for (let c = 0; c < 3; c++) image.data[p + c] += 0.55 * (TINT[c] - image.data[p + c]);
    }
  }
  context.putImageData(image, 0, 0);
}
