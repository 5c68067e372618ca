// Times. The HTML holds absolute ones; how long ago that is goes into a shadow root
// beside it, which is not part of the document: so a page that was patched live is
// the same document as one just loaded.

let offset = 0; // the clock of the master minus ours, milliseconds

export function setClock(server: number): void {
  offset = server - Date.now();
}

const now = (): number => Date.now() + offset;

export function ago(ms: number): string {
  const s = Math.floor(Math.abs(ms) / 1000);
  if (s < 5) return "just now";
  const far = s < 60 ? s + " s" : s < 3600 ? Math.floor(s / 60) + " min" : s < 86400 ? Math.floor(s / 3600) + " h" : Math.floor(s / 86400) + " d";
  return ms < 0 ? "in " + far : far + " ago";
}

// duration says the same as duration in words.go, but for whole seconds.
export function duration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number): string => String(n).padStart(2, "0");
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " m " + two(s % 60) + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + two(Math.floor((s % 3600) / 60)) + " m";
  return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
}

function shadow(host: Element, text: string, at: number): void {
  let root = host.shadowRoot;
  if (!root) {
    root = host.attachShadow({ mode: "open" });
    root.append(document.createElement("time"));
  }
  const time = root.firstElementChild as HTMLTimeElement;
  if (time.textContent !== text) time.textContent = text;
  const iso = new Date(at).toISOString();
  if (time.dateTime !== iso) {
    time.dateTime = iso;
    time.title = new Date(at).toLocaleString();
  }
}

export function tick(): void {
  const t = now();
  for (const el of document.querySelectorAll<HTMLElement>("[data-ago]")) {
    const at = Number(el.dataset.ago);
    shadow(el, t - at > 30 * 86400e3 ? new Date(at).toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" }) : ago(t - at), at);
  }
  for (const el of document.querySelectorAll<HTMLElement>("[data-since]")) {
    const at = Number(el.dataset.since);
    shadow(el, duration(t - at), at);
  }
  for (const el of document.querySelectorAll<HTMLProgressElement>("progress[data-start]")) {
    const part = (t - Number(el.dataset.start)) / Math.max(1, Number(el.dataset.usual));
    el.value = Math.round(Math.min(0.97, Math.max(0.01, part)) * 200) / 200;
  }
}

export function startTicking(): void {
  tick();
  setInterval(() => {
    if (!document.hidden) tick();
  }, 1000);
}
