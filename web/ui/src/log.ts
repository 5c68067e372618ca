import { Lines } from "./lines";
import { RowView, type Row } from "./rows";

// The log viewer. Some sixty rows are drawn, whatever the length of the log: a
// spacer stands for the rest, and above eight million pixels it stands for it on a
// smaller scale, since browsers have no elements so high.
const lineHeight = 18;
const tallest = 8_000_000;

interface Mark {
  line: number; // that it stands before, from 0
  text: string;
}

class Viewer {
  private readonly pane = document.createElement("div");
  private readonly window = document.createElement("div");
  private readonly rows = document.createElement("div");
  private readonly spacer = document.createElement("div");
  private readonly pill = document.createElement("button");
  private readonly nothing = document.createElement("p");
  private readonly views: RowView[] = [];
  private readonly lines: Lines;
  private top = 0; // the row at the top edge, with a fraction
  private follow = true;
  private seen = 0; // lines there were when following ended
  private shown = 0; // lines of the log that are laid out
  private folded = true;
  private header = 0; // leading header lines
  private marks: Mark[] = []; // of interruptions, by line
  private wrap = localStorage.getItem("log.wrap") === "1" || (localStorage.getItem("log.wrap") === null && innerWidth <= 640);
  private times = localStorage.getItem("log.times") === "1";
  private expected = -1; // a scroll position that was set here
  private from = -1; // the selected lines, from 0
  private to = -1;
  private frame = 0;
  private hiddenFrame = 0;
  private placed = false; // the lines of the address are in view

  constructor(private readonly host: HTMLElement) {
    const id = host.dataset.viewer ?? "";
    this.lines = new Lines(id, () => this.changed());
    this.build();
    this.readHash();
    // How long the log was when the page was made spares a question; it is not part
    // of the page, which lives on.
    this.lines.begin(Number(host.dataset.total), host.dataset.complete !== undefined);
    delete host.dataset.total;
    delete host.dataset.complete;
    void this.lines.load(0);
    this.changed();
    this.readMarks();
    addEventListener("buildstar:shown", () => this.readMarks());
    const live = window.buildstar?.live;
    void live?.on("logs/" + id + "/*", (_key, row) => {
      if (!row) void this.catchUp();
      else {
        if (row["complete"] === true) this.lines.complete = true;
        if (typeof row["num_lines"] === "number") this.lines.grown(row["num_lines"]);
        this.changed();
      }
    });
  }

  private async catchUp(): Promise<void> {
    await this.lines.refresh();
    this.changed();
  }

  private build(): void {
    this.pane.className = "pane";
    this.pane.tabIndex = 0;
    this.pane.setAttribute("role", "log");
    this.pane.setAttribute("aria-live", "off");
    this.pane.setAttribute("aria-label", "lines of the log");
    this.window.className = "lines window";
    this.rows.className = "rows";
    this.pill.type = "button";
    this.pill.className = "pill";
    this.pill.hidden = true;
    this.pill.onclick = () => this.setFollow(true);
    this.nothing.className = "empty nothing";
    this.nothing.hidden = true;
    this.window.append(this.rows);
    this.pane.append(this.window, this.spacer);
    this.pane.addEventListener("scroll", () => this.scrolled());
    this.pane.addEventListener("wheel", (e) => this.wheeled(e), { passive: false });
    this.rows.addEventListener("click", (e) => this.clicked(e));
    document.addEventListener("keydown", (e) => this.pressed(e));
    addEventListener("hashchange", () => {
      this.letGo();
      this.readHash();
      this.draw();
    });
    new ResizeObserver(() => this.layout()).observe(this.pane);
    const tools = document.getElementById("log-tools");
    tools?.addEventListener("click", (e) => this.tool((e.target as Element).closest<HTMLElement>("[data-log]")?.dataset.log ?? ""));
  }

  // The first lines replace what the server drew for readers without a script.
  private mount(): void {
    if (this.pane.isConnected) return;
    this.host.replaceChildren(this.pane, this.nothing, this.pill);
  }

  private tool(name: string): void {
    if (name === "follow" && !this.lines.complete) this.setFollow(!this.follow);
    if (name === "wrap") {
      this.wrap = !this.wrap;
      localStorage.setItem("log.wrap", this.wrap ? "1" : "0");
      this.layout();
    }
    if (name === "time") {
      this.times = !this.times;
      localStorage.setItem("log.times", this.times ? "1" : "0");
      this.draw();
    }
    this.showState();
  }

  // Rows: line 0, the fold in place of the other header lines, the rest; and among them
  // the marks of interruptions, each before the first line that came later.

  private get hidden(): number {
    return this.header > 3 && this.folded ? this.header - 2 : 0;
  }
  private get hasFold(): boolean {
    return this.header > 3;
  }
  private count(): number {
    if (this.shown === 0) return 0;
    return this.shown - this.hidden + (this.hasFold && !this.folded ? 1 : 0) + this.marksUpTo(this.shown);
  }
  private rowOf(line: number): number {
    return this.unmarkedRowOf(line) + this.marksUpTo(line);
  }
  private unmarkedRowOf(line: number): number {
    if (!this.hasFold || line === 0) return line;
    if (!this.folded) return line + 1;
    return line < this.header ? 1 : line - this.hidden;
  }
  private lineOf(row: number): number {
    const at = this.markAt(row);
    if (at.mark) return Math.min(at.mark.line, this.shown - 1);
    row -= at.before;
    if (!this.hasFold || row === 0) return row;
    if (!this.folded) return Math.max(1, row - 1);
    return row === 1 ? 1 : row + this.hidden;
  }
  private marksUpTo(line: number): number {
    return this.marks.filter((m) => m.line <= line).length;
  }
  // markAt returns the mark in a row, if it has one, and how many are in rows before it.
  private markAt(row: number): { mark?: Mark; before: number } {
    let before = 0;
    for (const mark of this.marks) {
      const at = this.unmarkedRowOf(mark.line) + before;
      if (at === row) return { mark, before };
      if (at > row) break;
      before++;
    }
    return { before };
  }

  // readMarks takes the interruptions that the page lists.
  private readMarks(): void {
    const line = this.shown > 0 ? this.lineOf(Math.floor(this.top)) : 0;
    this.marks = Array.from(document.querySelectorAll<HTMLElement>("#log-gaps li"), (li) => ({ line: Number(li.dataset.line) - 1, text: li.querySelector("span")?.textContent ?? "" }));
    if (!this.follow && this.shown > 0) this.top = this.rowOf(line);
    this.layout();
  }

  private get height(): number {
    return Math.max(lineHeight, this.window.clientHeight);
  }
  private get perView(): number {
    return this.height / lineHeight;
  }
  private get maxTop(): number {
    return Math.max(0, this.count() - this.perView);
  }
  private get scaled(): boolean {
    return this.count() * lineHeight > tallest;
  }
  private get maxScroll(): number {
    return Math.max(0, this.pane.scrollHeight - this.pane.clientHeight);
  }

  // changed is called when lines came or the log grew.
  private changed(): void {
    this.findHeader();
    if (this.lines.total > this.shown) {
      const selecting = this.selecting();
      if (!this.follow || selecting) this.shown = this.lines.total;
      // Following, the window moves on when the lines are there, not before.
      else if (this.lines.want(Math.max(0, this.lines.total - Math.ceil(this.perView) - 2), this.lines.total)) this.shown = this.lines.total;
    }
    this.layout();
  }

  private selecting(): boolean {
    const s = getSelection();
    return !!s && !s.isCollapsed && this.rows.contains(s.anchorNode);
  }

  private findHeader(): void {
    const head = this.lines.head();
    let n = head.findIndex((l) => l.stream !== "h");
    if (n < 0) {
      // Only header lines so far; the last ones tell how the command ended.
      const end = head.findIndex((l) => /^(program finished|elapsedTime=)/.test(l.text));
      n = end < 0 ? head.length : end;
    }
    if (n === this.header) return;
    const line = this.lineOf(Math.floor(this.top));
    this.header = n;
    if (!this.follow) this.top = this.rowOf(line);
  }

  // layout makes the spacer as high as the log and keeps the place.
  private layout(): void {
    if (this.shown === 0 && (!this.lines.known || this.lines.total > 0)) return; // the first lines are coming
    this.mount();
    this.host.classList.toggle("wrap", this.wrap);
    const high = Math.min(this.count() * lineHeight, tallest) - this.pane.clientHeight;
    this.spacer.style.height = Math.max(0, Math.round(high)) + "px";
    if (this.from >= 0 && !this.placed && this.shown > this.from) {
      this.placed = true;
      this.top = this.rowOf(this.from) - Math.floor(this.perView / 3);
    } else if (this.follow && !this.selecting()) this.top = this.maxTop;
    this.place();
    this.draw();
  }

  // place makes the scroll bar agree with top.
  private place(): void {
    this.top = Math.min(this.maxTop, Math.max(0, this.top));
    const y = this.maxTop > 0 ? (this.top / this.maxTop) * this.maxScroll : 0;
    if (Math.abs(this.pane.scrollTop - y) >= 0.5) this.pane.scrollTop = y;
    this.expected = this.pane.scrollTop;
  }

  private scrolled(): void {
    if (Math.abs(this.pane.scrollTop - this.expected) < 1) return;
    this.expected = this.pane.scrollTop;
    this.move(this.maxScroll > 0 ? (this.pane.scrollTop / this.maxScroll) * this.maxTop : 0, false);
  }

  // move shows another place because the reader asked for it.
  private move(top: number, place = true): void {
    const up = top < this.top;
    this.top = Math.min(this.maxTop, Math.max(0, top));
    if (place) this.place();
    if (up && this.top < this.maxTop - 0.5) this.letGo();
    else if (this.top >= this.maxTop - 0.5) this.follow = true;
    this.draw();
  }

  private letGo(): void {
    if (!this.follow) return;
    this.follow = false;
    this.seen = this.lines.total;
  }

  private setFollow(on: boolean): void {
    if (on) {
      this.follow = true;
      getSelection()?.removeAllRanges();
      this.changed();
    } else {
      this.letGo();
      this.draw();
    }
  }

  private wheeled(e: WheelEvent): void {
    if (!this.scaled || e.ctrlKey || e.shiftKey || e.deltaY === 0) return;
    e.preventDefault();
    const unit = e.deltaMode === WheelEvent.DOM_DELTA_LINE ? 1 : e.deltaMode === WheelEvent.DOM_DELTA_PAGE ? this.perView : 1 / lineHeight;
    this.move(this.top + e.deltaY * unit);
  }

  private pressed(e: KeyboardEvent): void {
    if (e.ctrlKey || e.metaKey || e.altKey || document.querySelector("dialog[open]")) return;
    const el = e.target as Element;
    if (el.closest("input, textarea, select, details[open]")) return;
    const inPane = this.pane.contains(el) || el === document.body || el.id === "main";
    const page = Math.floor(this.perView) - 1;
    const to: Record<string, number> = { Home: 0, End: this.maxTop, PageUp: this.top - page, PageDown: this.top + page, ArrowUp: this.top - 1, ArrowDown: this.top + 1 };
    const top = to[e.key];
    if (top !== undefined && inPane) {
      e.preventDefault();
      if (e.key === "End") this.setFollow(true);
      else this.move(top);
      return;
    }
    if (localStorage.getItem("keys.off") === "1") return;
    const tool = { f: "follow", w: "wrap", t: "time" }[e.key];
    if (tool && !this.afterG) this.tool(tool);
    this.afterG = e.key === "g";
  }
  private afterG = false;

  private clicked(e: MouseEvent): void {
    const n = (e.target as Element).closest<HTMLElement>("a.n")?.dataset.n;
    if (!n) return;
    e.preventDefault();
    const line = Number(n) - 1;
    if (e.shiftKey && this.from >= 0) {
      this.to = Math.max(line, this.from);
      this.from = Math.min(line, this.from);
    } else this.from = this.to = line;
    history.replaceState(null, "", "#L" + (this.from + 1) + (this.to > this.from ? "-L" + (this.to + 1) : ""));
    this.placed = true;
    this.letGo();
    this.draw();
  }

  private readHash(): void {
    const m = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash);
    if (!m) return;
    this.from = Math.max(0, Number(m[1]) - 1);
    this.to = Math.max(this.from, Number(m[2] ?? m[1]) - 1);
    this.follow = false;
    this.placed = false;
    if (this.from > 0 && this.from < this.header) this.folded = false;
    if (this.shown > 0) this.layout();
  }

  private draw(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.hiddenFrame);
    // Nobody sees a hidden tab, so it has no frames; it is kept right all the same.
    if (document.hidden) this.hiddenFrame = window.setTimeout(() => this.render(), 200);
    else this.frame = requestAnimationFrame(() => this.render());
  }

  private render(): void {
    if (!this.pane.isConnected) return;
    const count = this.count();
    const need = Math.ceil(this.perView) + 1;
    const atEnd = this.wrap && this.top >= this.maxTop - 0.5;
    const first = Math.max(0, Math.floor(this.top));
    if (count > 0) this.lines.want(this.lineOf(first), this.lineOf(Math.min(count, first + need)) + 1);
    while (this.views.length < need) {
      const v = new RowView({ whole: (n) => void this.lines.uncut(n), fold: () => this.toggleFold() });
      this.views.push(v);
      this.rows.append(v.el);
    }
    while (this.views.length > need) this.views.pop()?.el.remove();
    this.views.forEach((v, i) => {
      const row = first + i;
      if (row >= count) v.clear();
      else v.show(this.rowAt(row), this.times);
    });
    let up = -(this.top - first) * lineHeight;
    if (atEnd) up = Math.min(0, this.height - this.used());
    this.rows.style.transform = "translateY(" + Math.round(up) + "px)";
    this.showState();
  }

  // used is how high the rows with lines are.
  private used(): number {
    let high = 0;
    for (const v of this.views) if (!v.el.classList.contains("off")) high += v.el.offsetHeight;
    return high;
  }

  private rowAt(row: number): Row {
    const { mark, before } = this.markAt(row);
    if (mark) return { n: mark.line, mark: mark.text, selected: false };
    if (this.hasFold && row - before === 1) return { n: this.header - 1, fold: this.folded ? "closed" : "open", selected: false };
    const n = this.lineOf(row);
    return { n, line: this.lines.get(n), selected: n >= this.from && n <= this.to };
  }

  private toggleFold(): void {
    this.folded = !this.folded;
    this.letGo();
    this.layout();
  }

  private showState(): void {
    const press = (name: string, on: boolean): void =>
      document.querySelector(`#log-tools [data-log=${name}]`)?.setAttribute("aria-pressed", String(on));
    press("follow", this.follow);
    // A finished log has nothing to follow.
    document.querySelector("#log-tools [data-log=follow]")?.toggleAttribute("hidden", this.lines.complete);
    press("wrap", this.wrap);
    press("time", this.times);
    const count = document.getElementById("log-count");
    const text = this.lines.total.toLocaleString("en") + (this.lines.total === 1 ? " line" : " lines");
    if (count && count.textContent !== text) count.textContent = text;
    const fresh = this.follow ? 0 : this.lines.total - this.seen;
    this.pill.hidden = fresh <= 0;
    if (fresh > 0) this.pill.textContent = "▼ " + fresh.toLocaleString("en") + " new " + (fresh === 1 ? "line" : "lines");
    else this.pill.textContent = "";
    this.nothing.hidden = this.lines.total > 0;
    this.nothing.textContent = this.lines.complete ? "Finished without output." : "No output yet.";
  }
}

const host = document.querySelector<HTMLElement>("[data-viewer]");
if (host) new Viewer(host);
