// What keys, buttons and the strip do.

const $ = (id) => document.getElementById(id);

function showHelp() {
  $("help").showModal(); // focus goes to the button at its end
  $("help").scrollTop = 0;
}

/** Listen to the user; `page` has what can be done. */
export function listen(page) {
  const {
    state, stage, entries, correcting, setFrame, toDrawn, play, toKeyFrame, choose, chooseLayer, nextLayer, mark, draw, drawTexts,
  } = page;
  const { tools, corrections } = correcting;

  const KEYS = {
    ArrowLeft: (event) => setFrame(state.frame - (event.shiftKey ? 10 : 1)),
    ArrowRight: (event) => setFrame(state.frame + (event.shiftKey ? 10 : 1)),
    ",": () => setFrame(state.frame - 1),
    ".": () => setFrame(state.frame + 1),
    Home: () => setFrame(0),
    End: () => setFrame(Infinity),
    PageUp: () => toDrawn(-1),
    PageDown: () => toDrawn(1),
    " ": play,
    g: toKeyFrame,
    j: () => choose(entries.step(1)),
    k: () => choose(entries.step(-1)),
    "[": () => (tools.tool === "look" ? nextLayer(-1) : tools.resize(tools.radius / 1.2)),
    "]": () => (tools.tool === "look" ? nextLayer(1) : tools.resize(tools.radius * 1.2 + 1)),
    h: () => $("heat").click(),
    v: () => correcting.chooseTool("look"),
    b: () => correcting.chooseTool("brush"),
    e: () => correcting.chooseTool("eraser"),
    p: () => correcting.chooseTool("polygon"),
    c: () => correcting.chooseTool("click"),
    x: () => correcting.swap(),
    i: () => mark(0),
    o: () => mark(1),
    t: () => correcting.changeStretch("take"),
    r: () => correcting.carryOn(false),
    R: () => correcting.carryOn(true),
    n: () => correcting.toDoubtful(),
    0: () => stage.fit(),
    Enter: () => correcting.confirm(),
    Escape: () => tools.drop() || correcting.chooseTool("look"),
    "/": () => $("find").focus(),
    "?": showHelp,
  };
  for (let digit = 1; digit <= 9; digit++) {
    KEYS[digit] = () => {
      const entry = entries.all.find(({ v, e }) => v === state.entry.v && e === digit - 1);
      if (entry) choose(entry);
    };
  }
  const WITH_CONTROL = {
    z: (event) => correcting.turn(event.shiftKey ? "redo" : "undo"),
    y: () => correcting.turn("redo"),
    s: () => corrections.save(),
  };

  document.addEventListener("keydown", (event) => {
    if ($("help").open || $("conflict").open || !state.video) return;
    const { target } = event;
    if (event.ctrlKey || event.metaKey) {
      const action = target.matches("input[type=search]") ? null : WITH_CONTROL[event.key.toLowerCase()];
      if (action) {
        event.preventDefault();
        action(event);
      }
      return;
    }
    if (event.altKey) return;
    if (target.closest("#entries") && ["ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      choose(entries.step(event.key === "ArrowDown" ? 1 : -1));
      return $("entries").querySelector("[aria-current=true]")?.focus();
    }
    if (target.matches("input[type=search]")) {
      if (event.key === "Escape" || event.key === "Enter") target.blur();
      return;
    }
    const isPressed = (key) => key === " " || key === "Enter";
    const itsOwn = { SELECT: () => true, BUTTON: () => isPressed(event.key), INPUT: () => event.key.length > 1 || event.key === " " };
    if (itsOwn[target.tagName]?.() || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key](event);
  });

  const CLICKS = {
    previous: () => setFrame(state.frame - 1),
    next: () => setFrame(state.frame + 1),
    play,
    key: toKeyFrame,
    fit: () => stage.fit(),
    swap: () => correcting.swap(),
    undo: () => correcting.turn("undo"),
    redo: () => correcting.turn("redo"),
    save: () => corrections.save(),
    "mark-start": () => mark(0),
    "mark-stop": () => mark(1),
    take: () => correcting.changeStretch("take"),
    "carry-on": () => correcting.carryOn(false),
    clear: () => correcting.changeStretch("clear"),
    lock: () => correcting.changeStretch("lock"),
    unlock: () => correcting.changeStretch("unlock"),
    "help-button": showHelp,
  };
  for (const [id, action] of Object.entries(CLICKS)) $(id).addEventListener("click", () => state.video && action());
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.addEventListener("click", () => correcting.chooseTool(button.dataset.tool));
  }
  $("frame").addEventListener("input", () => setFrame(Number($("frame").value)));
  $("layer").addEventListener("change", () => chooseLayer(Number($("layer").value)));
  $("heat").addEventListener("change", () => draw());
  $("size").addEventListener("input", () => tools.resize(Number($("size").value)));
  $("strength").addEventListener("input", () => {
    stage.strength = Number($("strength").value);
    draw();
  });
  $("strip").addEventListener("pointerdown", (event) => {
    const go = (move) => {
      const box = $("strip").getBoundingClientRect();
      setFrame(Math.floor(((move.clientX - box.left) / box.width) * state.video.frames));
    };
    go(event);
    $("strip").setPointerCapture(event.pointerId);
    $("strip").onpointermove = go;
    $("strip").onpointerup = () => { $("strip").onpointermove = null; };
  });
  addEventListener("resize", () => state.video && drawTexts());
}
