// Brush, eraser and polygon on a mask in memory; and the pointers that use them, or move the picture.

const MIDDLE = 1, RIGHT = 2;
const DRAGGED = 5; // pixels of the screen from which on a click is a box

/** Set all pixels of a mask whose middle is at most `radius` from the line between two points; returns the box touched. */
export function sweep(mask, width, height, [ax, ay], [bx, by], radius, value) {
  const left = Math.max(0, Math.floor(Math.min(ax, bx) - radius)), right = Math.min(width, Math.ceil(Math.max(ax, bx) + radius));
  const top = Math.max(0, Math.floor(Math.min(ay, by) - radius)), bottom = Math.min(height, Math.ceil(Math.max(ay, by) + radius));
  const dx = bx - ax, dy = by - ay, long = dx * dx + dy * dy, most = radius * radius;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const px = x + 0.5 - ax, py = y + 0.5 - ay;
      const along = long ? Math.min(1, Math.max(0, (px * dx + py * dy) / long)) : 0;
      const ex = px - along * dx, ey = py - along * dy;
      if (ex * ex + ey * ey <= most) mask[y * width + x] = value;
    }
  }
  return { left, top, right, bottom };
}

/** Set all pixels whose middle is inside a polygon, by the even-odd rule. */
export function fillPolygon(mask, width, height, points, value) {
  const rows = points.map((point) => point[1]);
  const top = Math.max(0, Math.floor(Math.min(...rows))), bottom = Math.min(height, Math.ceil(Math.max(...rows)));
  for (let y = top; y < bottom; y++) {
    const crossings = [];
    points.forEach(([ax, ay], i) => {
      const [bx, by] = points[(i + 1) % points.length], middle = y + 0.5;
      if (ay <= middle !== by <= middle) crossings.push(ax + ((middle - ay) * (bx - ax)) / (by - ay));
    });
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const from = Math.max(0, Math.ceil(crossings[i] - 0.5)), to = Math.min(width, Math.ceil(crossings[i + 1] - 0.5));
      if (to > from) mask.fill(value, y * width + from, y * width + to);
    }
  }
}

export class Tools {
  /**
   * `stage` is where things are drawn, `clicks` takes points and boxes. `begin` gives the mask to draw on, or null if there is none to draw on now;
   * `done` gets the mask after a stroke, `dropped` is called when a stroke is given up.
   */
  constructor(stage, clicks, { begin, done, dropped, changed }) {
    Object.assign(this, { stage, clicks, begin, done, dropped, changed });
    this.tool = "look";
    this.radius = 20;
    this.swapped = false;
    this.stroke = null; // { mask, last, value, pointer }
    this.polygon = null; // { points, removes }
    this.click = null; // { from, label, pointer }
    this.pointers = new Map();
    this.moving = null;
    const { box } = stage;
    box.addEventListener("pointerdown", (event) => this.down(event));
    box.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) box.addEventListener(name, (event) => this.up(event));
    box.addEventListener("pointerleave", () => !this.stroke && this.drawSketch(null));
    box.addEventListener("dblclick", () => this.closePolygon());
    box.addEventListener("contextmenu", (event) => event.preventDefault());
    box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  get isBusy() {
    return this.stroke !== null || this.polygon !== null;
  }

  choose(tool) {
    this.drop();
    this.tool = tool;
    this.stage.box.className = tool === "look" ? "look" : "draw";
    this.changed();
  }

  resize(radius) {
    this.radius = Math.min(300, Math.max(1, Math.round(radius)));
    this.changed();
    this.drawSketch(this.last);
  }

  removes(event) {
    return (this.tool === "eraser") !== (this.swapped !== event.altKey);
  }

  /** Give up the stroke or polygon that is begun; whether there was one. */
  drop() {
    const was = this.clicks.drop() || this.isBusy;
    this.stroke = this.polygon = this.click = null;
    this.drawSketch(null);
    if (was) this.dropped();
    return was;
  }

  down(event) {
    const isPalm = event.pointerType === "touch" && [...this.pointers.values()].some((one) => one.type === "pen");
    if (isPalm) return;
    this.stage.box.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { type: event.pointerType, x: event.clientX, y: event.clientY });
    if (this.pointers.size === 2 && event.pointerType === "touch") {
      this.drop();
      return;
    }
    if (event.button === RIGHT && this.polygon) {
      this.polygon.points.pop();
      if (!this.polygon.points.length) this.drop();
      else this.drawSketch(this.stage.point(event));
      return;
    }
    if (event.button === MIDDLE || this.tool === "look") {
      this.moving = event.pointerId;
      event.preventDefault();
      return;
    }
    const point = this.stage.point(event);
    if (this.tool === "click" && this.begin()) {
      const label = event.button === RIGHT || this.removes(event) ? 0 : 1;
      this.click = { from: point, label, pointer: event.pointerId };
    }
    if (event.button !== 0 || this.tool === "click") return;
    if (this.tool === "polygon") {
      if (!this.polygon && !this.begin()) return;
      this.polygon ??= { points: [], removes: this.removes(event) };
      this.polygon.points.push(point);
      this.drawSketch(point);
      return;
    }
    const mask = this.begin();
    if (!mask) return;
    this.stroke = { mask: mask.slice(), last: point, value: this.removes(event) ? 0 : 1, pointer: event.pointerId };
    this.paint(point);
  }

  move(event) {
    const pointer = this.pointers.get(event.pointerId);
    this.last = this.stage.point(event);
    if (this.pointers.size === 2 && pointer?.type === "touch") return this.pinch(event, pointer);
    if (this.moving === event.pointerId) {
      this.stage.move(event.clientX - pointer.x, event.clientY - pointer.y);
      Object.assign(pointer, { x: event.clientX, y: event.clientY });
    } else if (this.stroke?.pointer === event.pointerId) {
      const between = event.getCoalescedEvents?.() ?? [];
      for (const one of between.length ? between : [event]) this.paint(this.stage.point(one));
    }
    this.drawSketch(this.last);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.moving === event.pointerId) this.moving = null;
    if (this.click?.pointer === event.pointerId) this.endClick(event);
    if (this.stroke?.pointer !== event.pointerId) return;
    const { mask } = this.stroke;
    this.stroke = null;
    if (event.type === "pointerup") this.done(mask);
    else this.dropped();
  }

  /** A click is a point; a click that is dragged is a box. */
  endClick(event) {
    const { from, label } = this.click, { stage } = this, to = stage.point(event), size = [stage.width, stage.height];
    this.click = null;
    if (event.type !== "pointerup") return;
    if (stage.scale * Math.hypot(to[0] - from[0], to[1] - from[1]) > DRAGGED) this.clicks.around(from, to, size);
    else this.clicks.point(from, label, size);
    this.drawSketch(to);
  }

  pinch(event, pointer) {
    const other = [...this.pointers.entries()].find(([id]) => id !== event.pointerId)[1];
    const before = Math.hypot(pointer.x - other.x, pointer.y - other.y);
    const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
    this.stage.move((event.clientX - pointer.x) / 2, (event.clientY - pointer.y) / 2);
    if (before) this.stage.zoom(after / before, (event.clientX + other.x) / 2, (event.clientY + other.y) / 2);
    Object.assign(pointer, { x: event.clientX, y: event.clientY });
  }

  wheel(event) {
    event.preventDefault();
    if (event.altKey) this.resize(this.radius * (event.deltaY < 0 ? 1.2 : 1 / 1.2));
    else this.stage.zoom(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
  }

  paint(point) {
    const { stage, stroke } = this;
    const box = sweep(stroke.mask, stage.width, stage.height, stroke.last, point, this.radius, stroke.value);
    stroke.last = point;
    stage.showMask(stroke.mask, box);
  }

  /** Close the polygon and fill it; whether there was one. */
  closePolygon() {
    if (!this.polygon) return false;
    const { points, removes } = this.polygon, mask = points.length > 2 ? this.begin() : null;
    this.polygon = null;
    this.drawSketch(null);
    if (!mask) {
      this.dropped();
      return true;
    }
    const filled = mask.slice();
    fillPolygon(filled, this.stage.width, this.stage.height, points, removes ? 0 : 1);
    this.done(filled);
    return true;
  }

  /** The circle of the brush, the polygon so far, or what is clicked at, at a point. */
  drawSketch(point) {
    const { stage, clicks } = this, context = stage.sketch;
    stage.clearSketch();
    if (!point && !this.polygon && !clicks.isBegun) return;
    const lines = () => {
      context.beginPath();
      if (this.polygon) {
        this.polygon.points.forEach(([x, y]) => context.lineTo(x, y));
        if (point) context.lineTo(...point);
      } else if (this.tool === "click") this.traceClicks(context, point);
      else if (this.tool === "brush" || this.tool === "eraser") context.arc(...point, this.radius, 0, 2 * Math.PI);
      context.stroke();
    };
    for (const [colour, wide] of [["#000", 3], ["#fff", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide / stage.scale;
      lines();
    }
  }

  /** A plus at each point in the object, a minus beside it, and the box; also the one that is being dragged. */
  traceClicks(context, point) {
    const { clicks, click } = this, arm = 7 / this.stage.scale;
    clicks.points.forEach(([x, y], i) => {
      context.moveTo(x - arm, y);
      context.lineTo(x + arm, y);
      if (!clicks.labels[i]) return;
      context.moveTo(x, y - arm);
      context.lineTo(x, y + arm);
    });
    const corners = click && point ? [click.from, point] : clicks.box && [clicks.box.slice(0, 2), clicks.box.slice(2)];
    if (corners) context.rect(...corners[0], corners[1][0] - corners[0][0], corners[1][1] - corners[0][1]);
  }
}
