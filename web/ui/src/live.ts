// The event stream. One socket per tab carries the events of what the tab shows. A
// tab that comes back names the position it has seen, and gets what it missed or is
// told to read everything again: so it never shows something old as if it were new.
export type Row = Record<string, unknown>;
export type Listener = (key: string, row: Row | null) => void;
export type LiveState = "live" | "catching" | "offline";

interface Frame {
  k?: string;
  m?: Row;
  s?: number;
  hello?: { epoch: number; seq: number; version: string };
  resync?: boolean;
  code?: number;
  _id?: number;
}

const firstDelay = 250;
const lastDelay = 10_000;

export class Live {
  private socket: WebSocket | null = null;
  private epoch = 0;
  private seq = 0;
  private delay = firstDelay;
  private timer = 0;
  private ids = 0;
  private acks = new Map<number, () => void>();
  private listeners = new Map<string, Set<Listener>>();
  offlineSince = 0;
  retryAt = 0;
  version = "";

  constructor(
    position: string,
    private readonly onState: (s: LiveState) => void,
    private readonly onVersion: (v: string) => void,
  ) {
    const [epoch, seq] = position.split(".");
    this.epoch = Number(epoch) || 0;
    this.seq = Number(seq) || 0;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.hurry();
    });
    // A page that is kept for the back button must not hold its socket.
    addEventListener("pagehide", () => this.socket?.close());
    addEventListener("pageshow", (e) => {
      if (e.persisted) this.hurry();
    });
  }

  // on calls back for each event whose key matches, and with a null row when events
  // may have been missed. The promise settles when no later event will be.
  on(pattern: string, fn: Listener): Promise<void> {
    const set = this.listeners.get(pattern);
    if (set) {
      set.add(fn);
      return Promise.resolve();
    }
    this.listeners.set(pattern, new Set([fn]));
    return this.send("startConsuming", pattern);
  }

  off(pattern: string, fn: Listener): void {
    const set = this.listeners.get(pattern);
    if (!set?.delete(fn) || set.size > 0) return;
    this.listeners.delete(pattern);
    void this.send("stopConsuming", pattern);
  }

  private send(cmd: string, path: string): Promise<void> {
    const s = this.socket;
    if (!s || s.readyState !== WebSocket.OPEN) return Promise.resolve(); // connect names every pattern
    const id = ++this.ids;
    s.send(JSON.stringify({ cmd, path, _id: id }));
    return new Promise((done) => this.acks.set(id, done));
  }

  connect(): void {
    clearTimeout(this.timer);
    const q = new URLSearchParams({ buildstar: "1", resume: this.epoch + "." + this.seq });
    const named = Array.from(this.listeners.keys());
    for (const p of named) q.append("path", p);
    const s = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/ws?" + q);
    this.socket = s;
    s.onopen = () => {
      if (this.offlineSince) this.onState("catching");
      for (const p of this.listeners.keys()) if (!named.includes(p)) void this.send("startConsuming", p);
    };
    s.onmessage = (e) => this.receive(JSON.parse(String(e.data)) as Frame);
    s.onclose = () => {
      if (this.socket === s) this.lost();
    };
  }

  private receive(f: Frame): void {
    if (f.hello) {
      this.epoch = f.hello.epoch;
      this.seq = f.hello.seq;
      this.delay = firstDelay;
      this.offlineSince = 0;
      if (this.version && this.version !== f.hello.version) this.onVersion(f.hello.version);
      this.version = f.hello.version;
      this.onState("live");
    } else if (f.resync) {
      for (const [pattern, set] of this.listeners) for (const fn of set) fn(pattern, null);
    } else if (f.code != null) {
      this.acks.get(f._id ?? 0)?.();
      this.acks.delete(f._id ?? 0);
    } else if (f.k) {
      if (f.s) this.seq = f.s;
      for (const [pattern, set] of this.listeners) {
        if (matches(pattern, f.k)) for (const fn of set) fn(f.k, f.m ?? {});
      }
    }
  }

  private lost(): void {
    this.socket = null;
    for (const done of this.acks.values()) done();
    this.acks.clear();
    this.offlineSince ||= Date.now();
    const wait = this.delay * (0.5 + Math.random() / 2);
    this.delay = Math.min(this.delay * 2, lastDelay);
    this.retryAt = Date.now() + wait;
    this.timer = window.setTimeout(() => this.connect(), wait);
    this.onState("offline");
  }

  private hurry(): void {
    if (!this.socket && this.timer) this.connect();
  }
}

export function matches(pattern: string, key: string): boolean {
  const p = pattern.split("/");
  const k = key.split("/");
  return p.length === k.length && p.every((w, i) => w === "*" || w === k[i]);
}
