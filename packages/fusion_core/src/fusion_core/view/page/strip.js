// The line of time: disagreement, what was corrected how, locks, the key frame, the stretch that is marked.

export function drawStrip(canvas, { frames, frame, disagreement, parts, key, marked }) {
  const width = (canvas.width = Math.max(1, canvas.clientWidth * devicePixelRatio));
  const height = (canvas.height = Math.max(1, canvas.clientHeight * devicePixelRatio));
  const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name);
  const step = width / frames, band = Math.round(height * 0.3), ground = height - band;
  if (marked) {
    context.fillStyle = colour("--line");
    context.fillRect(marked[0] * step, 0, (marked[1] - marked[0]) * step, height);
  }
  context.fillStyle = colour("--soft");
  drawValues(context, disagreement ?? [], width, ground, frames);
  for (const part of parts) drawPart(context, part, step, ground, band, colour);
  context.fillStyle = colour("--line");
  context.fillRect(0, ground, width, 1);
  if (key !== null && key !== undefined) {
    context.fillStyle = colour("--vote");
    context.font = `${Math.round(ground * 0.7)}px sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillText("★", Math.min(Math.max((key + 0.5) * step, 8), width - 8), 0);
  }
  context.strokeStyle = colour("--accent");
  context.lineWidth = 2 * devicePixelRatio;
  context.strokeRect(frame * step, 1, Math.max(2, step), height - 2);
}

/** Bars; where frames are narrower than a pixel, the highest of those that share it. */
function drawValues(context, values, width, height, frames) {
  const bars = Math.min(frames, Math.floor(width));
  for (let bar = 0; bar < bars && values.length; bar++) {
    const from = Math.floor((bar * frames) / bars), to = Math.max(from + 1, Math.floor(((bar + 1) * frames) / bars));
    let value = 0;
    for (let t = from; t < to; t++) value = Math.max(value, values[t]);
    context.fillRect((bar * width) / bars, height * (1 - value), Math.max(1, width / bars - 1), height * value);
  }
}

/** Drawn: solid; taken from another run: hatched; carried on: two lines; not there: dotted. Locked: a line below. */
function drawPart(context, { start, stop, kind, locked }, step, top, band, colour) {
  const left = start * step, width = Math.max(2, (stop - start) * step);
  context.save();
  context.beginPath();
  context.rect(left, top + 1, width, band);
  context.clip();
  context.fillStyle = context.strokeStyle = colour("--accent");
  if (kind === "draw") context.fillRect(left, top + 1, width, band);
  if (kind === "take") {
    context.lineWidth = 2;
    for (let x = left - band; x < left + width; x += 6) {
      context.beginPath();
      context.moveTo(x, top + band);
      context.lineTo(x + band, top);
      context.stroke();
    }
  }
  if (kind === "propagate") for (const y of [0.3, 0.6]) context.fillRect(left, top + band * y, width, 1.5);
  if (kind === "clear") for (let x = left + 1; x < left + width; x += 6) context.fillRect(x, top + band / 2, 2, 2);
  if (locked) {
    context.fillStyle = colour("--text");
    context.fillRect(left, top + band - 3, width, 3);
  }
  context.restore();
}
