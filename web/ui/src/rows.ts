import { draw } from "./ansi";
import type { Line } from "./lines";

// A row of the viewer shows a line, or the fold that hides the lines with the
// command's environment, or says that the build was out of touch.
export interface Row {
  line?: Line | undefined;
  n: number; // of the line, from 0; of a fold: how many lines it hides
  fold?: "closed" | "open";
  mark?: string;
  selected: boolean;
}

export interface Acts {
  whole(n: number): void;
  fold(): void;
}

export class RowView {
  readonly el = document.createElement("div");
  private shown = "";

  constructor(private readonly acts: Acts) {
    this.clear();
  }

  clear(): void {
    this.shown = "";
    this.el.className = "l off";
    this.el.replaceChildren();
  }

  show(row: Row, times: boolean): void {
    const is = [row.n, row.fold, row.mark, row.line?.text.length, row.line?.length, row.selected, times].join();
    if (is === this.shown) return;
    this.shown = is;
    if (row.mark !== undefined) this.showMark(row.mark);
    else if (row.fold) this.showFold(row);
    else this.showLine(row, times);
  }

  private showFold(row: Row): void {
    this.el.className = "l foldrow";
    const b = document.createElement("button");
    b.type = "button";
    b.setAttribute("aria-expanded", String(row.fold === "open"));
    b.textContent = (row.fold === "open" ? "▾ " : "▸ ") + row.n + " lines of command and environment";
    b.onclick = () => this.acts.fold();
    const n = document.createElement("span");
    n.className = "n";
    this.el.replaceChildren(n, b);
  }

  private showMark(text: string): void {
    this.el.className = "l markrow";
    const n = document.createElement("span");
    n.className = "n";
    const t = document.createElement("span");
    t.className = "t";
    t.textContent = text;
    this.el.replaceChildren(n, t);
  }

  private showLine(row: Row, times: boolean): void {
    const { line } = row;
    const number = String(row.n + 1);
    this.el.className = "l" + (line ? " s-" + line.stream : "") + (row.selected ? " sel" : "");
    const n = document.createElement("a");
    n.className = "n";
    n.href = "#L" + number;
    n.dataset.n = number;
    n.tabIndex = -1; // sixty stops on the way through the page would help nobody
    n.setAttribute("aria-label", "line " + number);
    this.el.replaceChildren(n);
    if (times) {
      const c = document.createElement("span");
      c.className = "c";
      c.textContent = line?.time ? clock(line.time) : "";
      this.el.append(c);
    }
    const t = document.createElement("span");
    t.className = "t";
    if (line) draw(t, line.text);
    this.el.append(t);
    if (line?.length && line.length > line.text.length) {
      const b = document.createElement("button");
      b.type = "button";
      b.textContent = "show all " + Math.ceil(line.length / 1000).toLocaleString("en") + " KB";
      b.onclick = () => this.acts.whole(row.n);
      t.append(b);
    }
  }
}

function clock(ms: number): string {
  const d = new Date(ms);
  return d.toLocaleTimeString("en-GB") + "." + String(d.getMilliseconds()).padStart(3, "0");
}
