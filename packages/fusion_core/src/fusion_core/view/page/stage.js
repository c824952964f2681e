// The picture with its mask: two canvases that lie on one another, zoomed and moved together.

export const TINT = [235, 0, 140];
const PROPOSED = [0, 200, 255];
const STRIPE = 4; // pixels of a proposal's hatching
const HEAT = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis
const MOST_ZOOM = 32;

const rgba = ([r, g, b], alpha) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0; // as ImageData lies in memory

function heatColour(share) {
  const place = share * (HEAT.length - 1), i = Math.min(Math.floor(place), HEAT.length - 2), rest = place - i;
  return HEAT[i].map((value, channel) => Math.round(value + rest * (HEAT[i + 1][channel] - value)));
}

export class Stage {
  constructor(box, sheet, picture, mask, sketch) {
    this.box = box;
    this.sheet = sheet;
    this.picture = picture.getContext("2d", { alpha: false });
    this.mask = mask.getContext("2d");
    this.sketch = sketch.getContext("2d");
    this.width = this.height = 1;
    this.scale = 1;
    this.x = this.y = 0;
    this.fitted = true;
    this.strength = 0.55;
    this.onzoom = () => {};
    new ResizeObserver(() => (this.fitted ? this.fit() : this.place())).observe(box);
  }

  /** Set the size of the video in pixels. */
  resize(width, height) {
    if (width === this.width && height === this.height) return;
    this.width = width;
    this.height = height;
    for (const context of [this.picture, this.mask, this.sketch]) {
      context.canvas.width = width;
      context.canvas.height = height;
    }
    this.image = new ImageData(width, height);
    this.colours = new Uint32Array(this.image.data.buffer);
    this.fit();
  }

  fit() {
    const { clientWidth, clientHeight } = this.box;
    this.scale = Math.min(clientWidth / this.width, clientHeight / this.height) || 1;
    this.x = (clientWidth - this.scale * this.width) / 2;
    this.y = (clientHeight - this.scale * this.height) / 2;
    this.fitted = true;
    this.place();
  }

  /** Zoom by a factor; the point of the page stays where it is. */
  zoom(factor, clientX, clientY) {
    const box = this.box.getBoundingClientRect(), x = clientX - box.left, y = clientY - box.top;
    const least = Math.min(1, box.width / this.width, box.height / this.height) / 2;
    const scale = Math.min(MOST_ZOOM, Math.max(least, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.place();
  }

  move(x, y) {
    this.x += x;
    this.y += y;
    this.fitted = false;
    this.place();
  }

  place() {
    this.sheet.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.sheet.classList.toggle("near", this.scale * devicePixelRatio >= 2);
    this.onzoom(this.scale);
  }

  /** The point of the video, in pixels from its upper left corner, under a point of the page. */
  point({ clientX, clientY }) {
    const box = this.box.getBoundingClientRect();
    return [(clientX - box.left - this.x) / this.scale, (clientY - box.top - this.y) / this.scale];
  }

  showPicture(bitmap) {
    this.picture.drawImage(bitmap, 0, 0, this.width, this.height);
  }

  /** Colour a mask (0 and 1), or a part of it; without `part` all of it. */
  showMask(mask, part = { left: 0, top: 0, right: this.width, bottom: this.height }) {
    const { width, height, colours } = this;
    const inner = rgba(TINT, Math.round(255 * this.strength)), edge = rgba(TINT, 255);
    const left = Math.max(0, part.left - 1), right = Math.min(width, part.right + 1);
    const top = Math.max(0, part.top - 1), bottom = Math.min(height, part.bottom + 1);
    for (let y = top; y < bottom; y++) {
      for (let x = left, p = y * width + left; x < right; x++, p++) {
        if (!mask[p]) colours[p] = 0;
        else {
          const isInner = (y === 0 || mask[p - width]) && (y === height - 1 || mask[p + width]) &&
            (x === 0 || mask[p - 1]) && (x === width - 1 || mask[p + 1]);
          colours[p] = isInner ? inner : edge;
        }
      }
    }
    if (right > left && bottom > top) this.mask.putImageData(this.image, 0, 0, left, top, right - left, bottom - top);
  }

  /** Colour a mask, and hatch one that is proposed in its place, if there is one. */
  showProposal(mask, proposed) {
    this.showMask(mask);
    if (!proposed) return;
    const stripe = rgba(PROPOSED, Math.round(255 * Math.sqrt(this.strength)));
    for (let p = 0; p < proposed.length; p++) {
      const x = p % this.width, y = (p - x) / this.width;
      if (proposed[p] && (x + y) % (2 * STRIPE) < STRIPE) this.colours[p] = stripe;
    }
    this.mask.putImageData(this.image, 0, 0);
  }

  /** Colour how many of `voters` masks each pixel has. */
  showCounts(counts, voters) {
    const alpha = Math.round(255 * Math.sqrt(this.strength));
    const table = Array.from({ length: voters + 1 }, (_, n) =>
      (n ? rgba(heatColour(voters === 1 ? 1 : (n - 1) / (voters - 1)), alpha) : 0));
    for (let p = 0; p < counts.length; p++) this.colours[p] = table[counts[p]];
    this.mask.putImageData(this.image, 0, 0);
  }

  clearSketch() {
    this.sketch.clearRect(0, 0, this.width, this.height);
  }
}

/** Say in an element what the colours of votes mean; nothing where there are none. */
export function drawLegend(legend, heat) {
  legend.replaceChildren();
  if (!heat) return;
  legend.append(`votes, ${heat.needed} needed: `);
  for (let n = 1; n <= heat.voters.length; n++) {
    const swatch = document.createElement("span");
    const [r, g, b] = heatColour(heat.voters.length === 1 ? 1 : (n - 1) / (heat.voters.length - 1));
    swatch.textContent = n;
    swatch.style.background = `rgb(${r} ${g} ${b})`;
    swatch.style.color = 0.3 * r + 0.59 * g + 0.11 * b > 120 ? "#000" : "#fff";
    swatch.classList.toggle("needed", n === heat.needed);
    legend.append(swatch);
  }
}
