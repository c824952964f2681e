// The list of expressions, on the left.

const $ = (id) => document.getElementById(id);

export class Entries {
  /** `videos` as in the session; `onchoose` gets an entry. */
  constructor(videos, onchoose) {
    this.all = videos.flatMap((video, v) => video.expressions.map((expression, e) => ({
      v, e, video: video.id, expression: expression.id, text: expression.text,
    })));
    this.onchoose = onchoose;
    this.current = null;
    $("find").addEventListener("input", () => this.list());
    this.list();
  }

  list() {
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    this.listed = this.all.filter((entry) => {
      const text = `${entry.video} ${entry.expression} ${entry.text ?? ""}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    $("listed").textContent = `${this.listed.length} of ${this.all.length} expressions`;
    $("entries").replaceChildren(...this.listed.map((entry) => this.line(entry)));
    this.mark(this.current);
  }

  line(entry) {
    const line = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    for (const [name, text] of [["name", `${entry.video} / ${entry.expression}`], ["text", entry.text ?? ""]]) {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      button.append(part);
    }
    button.title = entry.text ?? "";
    button.addEventListener("click", () => this.onchoose(entry));
    line.append(button);
    return line;
  }

  mark(entry) {
    this.current = entry;
    [...$("entries").querySelectorAll("button")].forEach((button, place) => {
      const isCurrent = this.listed[place] === entry;
      button.setAttribute("aria-current", isCurrent);
      button.tabIndex = isCurrent || (place === 0 && !this.listed.includes(entry)) ? 0 : -1;
      if (isCurrent) button.scrollIntoView({ block: "nearest" });
    });
  }

  /** The entry that is `by` places behind the current one. */
  step(by) {
    const place = this.listed.indexOf(this.current);
    return this.listed[Math.min(Math.max(place + by, 0), this.listed.length - 1)];
  }
}
