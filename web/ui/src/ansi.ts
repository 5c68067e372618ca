// ANSI colours of a line as spans with classes: text only ever becomes text.

interface Style {
  fg: number; // -1: the default
  bold: boolean;
  italic: boolean;
  underline: boolean;
  dim: boolean;
  inverse: boolean;
}

const plain = (): Style => ({ fg: -1, bold: false, italic: false, underline: false, dim: false, inverse: false });

// eslint-disable-next-line no-control-regex
const escape = /\x1b(?:\[([0-9;:?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])/g;
// eslint-disable-next-line no-control-regex
const control = /[\x00-\x08\x0b-\x1f\x7f]/g;

// draw fills el with a line. What was drawn over with carriage returns shows its
// last state.
export function draw(el: Element, line: string): void {
  el.textContent = "";
  if (line.includes("\r")) {
    line = line.replace(/\r+$/, "");
    line = line.slice(line.lastIndexOf("\r") + 1);
  }
  if (!line.includes("\x1b")) {
    el.textContent = line.replace(control, "␛");
    return;
  }
  const style = plain();
  let at = 0;
  const put = (text: string): void => {
    if (!text) return;
    text = text.replace(control, "␛");
    const names = classes(style);
    if (!names) {
      el.append(text);
      return;
    }
    const span = document.createElement("span");
    span.className = names;
    span.textContent = text;
    el.append(span);
  };
  for (const m of line.matchAll(escape)) {
    put(line.slice(at, m.index));
    at = m.index + m[0].length;
    if (m[2] === "m") apply(style, m[1] ?? "");
  }
  put(line.slice(at));
}

function classes(s: Style): string {
  const names: string[] = [];
  if (s.inverse) names.push("inv");
  else if (s.fg >= 0) names.push("a" + s.fg);
  if (s.bold) names.push("b");
  if (s.italic) names.push("i");
  if (s.underline) names.push("u");
  if (s.dim && s.fg < 0) names.push("dim");
  return names.join(" ");
}

function apply(s: Style, params: string): void {
  const codes = params.split(/[;:]/).map(Number);
  for (let i = 0; i < codes.length; i++) {
    const c = codes[i] ?? 0;
    if (c === 0) Object.assign(s, plain());
    else if (c === 1) s.bold = true;
    else if (c === 2) s.dim = true;
    else if (c === 3) s.italic = true;
    else if (c === 4) s.underline = true;
    else if (c === 7) s.inverse = true;
    else if (c === 22) s.bold = s.dim = false;
    else if (c === 23) s.italic = false;
    else if (c === 24) s.underline = false;
    else if (c === 27) s.inverse = false;
    else if (c >= 30 && c <= 37) s.fg = c - 30;
    else if (c >= 90 && c <= 97) s.fg = c - 82;
    else if (c === 39) s.fg = -1;
    else if (c === 38 || c === 48) {
      const fg = c === 38;
      if (codes[i + 1] === 5) {
        if (fg) s.fg = from256(codes[i + 2] ?? 7);
        i += 2;
      } else if (codes[i + 1] === 2) {
        if (fg) s.fg = nearest(codes[i + 2] ?? 0, codes[i + 3] ?? 0, codes[i + 4] ?? 0);
        i += 4;
      }
    }
  }
}

// Of the many colours there are the sixteen are used that can be read on both
// grounds.
function from256(n: number): number {
  if (n < 16) return n;
  if (n >= 232) return n < 244 ? 8 : 7;
  const level = (v: number): number => (v === 0 ? 0 : 55 + v * 40);
  n -= 16;
  return nearest(level(Math.floor(n / 36)), level(Math.floor(n / 6) % 6), level(n % 6));
}

function nearest(r: number, g: number, b: number): number {
  const top = Math.max(r, g, b);
  if (top - Math.min(r, g, b) < 40) return top < 128 ? 8 : 7;
  const on = (v: number): boolean => v > top * 0.6;
  return (on(r) ? 1 : 0) + (on(g) ? 2 : 0) + (on(b) ? 4 : 0);
}
