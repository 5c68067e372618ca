import { Live, type Listener } from "./live";
import { morph } from "./morph";
import { tick } from "./tick";

// Refresher keeps the page as the server would send it now: when an event concerns
// it, it fetches the page's own address and morphs the difference in. At most four
// times a second for what the page shows and every two seconds for its frame; a tab
// that nobody sees takes its time, but its title and icon tell the result.
const pageEvery = 250;
const frameEvery = 2000;
const hiddenEvery = 3000;
const reasonsAfter = 1500;
const idleEvery = 60_000; // for what has no events: a full disk, a refused configuration

export class Refresher {
  private pageKeys = new Set<string>();
  private frameKeys = new Set<string>();
  private dueAt = Infinity;
  private timer = 0;
  private startedAt = 0;
  private running: XMLHttpRequest | null = null;
  private again = false;

  constructor(
    private readonly live: Live,
    private readonly onNewAssets: () => void,
  ) {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.dueAt < Infinity) this.ask(0);
    });
    setInterval(() => this.ask(0), idleEvery);
  }

  // start subscribes to what the page names.
  start(): void {
    this.subscribe();
  }

  private readonly pageEvent: Listener = () => {
    this.ask(pageEvery);
    // Why a request waits is decided a moment after what it waits for changed, and
    // has no event of its own.
    clearTimeout(this.reasons);
    this.reasons = window.setTimeout(() => {
      if (document.querySelector(".wait, .queue, [data-page=request]")) this.ask(pageEvery);
    }, reasonsAfter);
  };
  private reasons = 0;
  // The banners tell how the master is, and its own events are rare: they are shown at once.
  private readonly frameEvent: Listener = (key) => this.ask(key.startsWith("masters/") ? pageEvery : frameEvery);

  private subscribe(): Promise<void>[] {
    const acks: Promise<void>[] = [];
    const sync = (have: Set<string>, want: string, fn: Listener): void => {
      const next = new Set(want.split(" ").filter(Boolean));
      for (const p of have) if (!next.has(p)) this.live.off(p, fn);
      for (const p of next) if (!have.has(p)) acks.push(this.live.on(p, fn));
      have.clear();
      for (const p of next) have.add(p);
    };
    sync(this.pageKeys, document.body.dataset.live ?? "", this.pageEvent);
    sync(this.frameKeys, document.body.dataset.shell ?? "", this.frameEvent);
    return acks;
  }

  // ask fetches the page soon, and not within so many milliseconds of the last time.
  ask(every: number): void {
    if (document.hidden) every = Math.max(every, hiddenEvery);
    this.dueAt = Math.min(this.dueAt, Math.max(Date.now(), this.startedAt + every));
    this.arm();
  }

  // now fetches the page at once, after another address was put in its place.
  now(): void {
    this.startedAt = 0;
    this.running?.abort();
    this.running = null;
    this.ask(0);
  }

  private arm(): void {
    clearTimeout(this.timer);
    if (this.dueAt === Infinity || document.body.dataset.page === "failure") return;
    this.timer = window.setTimeout(() => this.fetch(), Math.max(0, this.dueAt - Date.now()));
  }

  private fetch(): void {
    if (this.running) {
      this.again = true;
      return;
    }
    this.dueAt = Infinity;
    this.startedAt = Date.now();
    const asked = location.href.split("#")[0] ?? "";
    const x = new XMLHttpRequest();
    this.running = x;
    x.open("GET", asked);
    x.responseType = "document";
    x.timeout = 20_000;
    x.setRequestHeader("Accept", "text/html");
    x.setRequestHeader("X-Buildstar-Live", "1");
    x.onloadend = () => {
      if (this.running !== x) return;
      this.running = null;
      const page = x.responseXML;
      if (page && x.status > 0 && x.status < 500 && asked === location.href.split("#")[0]) this.show(page, x.responseURL, asked);
      if (this.again) {
        this.again = false;
        this.ask(pageEvery);
      }
    };
    x.send();
  }

  private show(page: Document, from: string, asked: string): void {
    if (new URL(from).pathname !== new URL(asked).pathname) {
      location.replace(from); // what was a request is a build now
      return;
    }
    document.title = page.title;
    for (const rel of ["icon"]) {
      const old = document.head.querySelector(`link[rel=${rel}]`);
      const next = page.head.querySelector(`link[rel=${rel}]`);
      if (old && next) morph(old, next);
    }
    const script = (d: Document): string => d.head.querySelector("script")?.getAttribute("src") ?? "";
    if (script(page) !== script(document)) this.onNewAssets();
    morph(document.body, page.body);
    tick();
    const acks = this.subscribe();
    // Something may have happened between the page and the new subscriptions.
    if (acks.length > 0) void Promise.all(acks).then(() => this.ask(0));
    dispatchEvent(new Event("buildstar:shown"));
  }
}
