// The lines of one log, in pages of 500 that are fetched when they come into view
// and forgotten when they have not been looked at for long.

export interface Line {
  number: number;
  stream: string;
  text: string;
  time: number | null;
  length?: number; // of the whole line, if text is cut
}

interface Answer {
  lines: Line[];
  meta: { total: number; complete: boolean };
}

const pageSize = 500;
const keptPages = 60;
const atOnce = 4;
const cutAt = 4096;

export class Lines {
  total = 0;
  complete = false;
  known = false; // an answer came
  private pages = new Map<number, Line[]>(); // in the order they were last used
  private loading = new Map<number, AbortController>();
  private whole = new Map<number, Line>(); // lines that were asked for uncut

  constructor(
    private readonly log: string,
    private readonly changed: () => void,
  ) {}

  get(n: number): Line | undefined {
    return this.whole.get(n) ?? this.pages.get(Math.floor(n / pageSize))?.[n % pageSize];
  }

  // head returns the lines from the first on, as far as they are known.
  head(): Line[] {
    return this.pages.get(0) ?? [];
  }

  // want makes the lines [from, to) come, drops what is under way for others, and
  // says whether they are all there.
  want(from: number, to: number): boolean {
    const first = Math.max(0, Math.floor(from / pageSize));
    const last = Math.floor(Math.max(0, Math.min(to, this.total) - 1) / pageSize);
    const end = Math.floor(Math.max(0, this.total - 1) / pageSize);
    for (const [page, stop] of this.loading) {
      // The ends are always wanted: the header is at one, a reader who follows at the other.
      if (page !== 0 && page < end - 1 && (page < first - 1 || page > last + 1)) {
        stop.abort();
        this.loading.delete(page);
      }
    }
    let ready = true;
    for (let p = first; p <= last; p++) {
      const have = this.pages.get(p);
      const full = Math.min(pageSize, this.total - p * pageSize);
      if (have) {
        this.pages.delete(p);
        this.pages.set(p, have);
      }
      if ((have?.length ?? 0) < full) {
        const lastWanted = Math.min(to, this.total) - p * pageSize;
        if ((have?.length ?? 0) < lastWanted) ready = false;
        void this.load(p);
      }
    }
    return ready;
  }

  // load fetches what of a page is not there yet.
  async load(page: number): Promise<void> {
    if (this.loading.has(page) || this.loading.size >= atOnce) return;
    const stop = new AbortController();
    this.loading.set(page, stop);
    const have = this.pages.get(page) ?? [];
    try {
      const got = await this.ask(page * pageSize + have.length, pageSize - have.length, cutAt, stop.signal);
      this.pages.delete(page);
      this.pages.set(page, have.concat(got.lines));
      this.took(got);
    } catch {
      // Aborted, or offline: a look at these lines asks again.
      if (!stop.signal.aborted) setTimeout(this.changed, 1000);
      return;
    } finally {
      if (this.loading.get(page) === stop) this.loading.delete(page);
    }
    for (const old of this.pages.keys()) {
      if (this.pages.size <= keptPages) break;
      if (old !== 0) this.pages.delete(old);
    }
    this.changed();
  }

  // refresh asks how long the log is now.
  async refresh(): Promise<void> {
    try {
      this.took(await this.ask(this.total, 1, cutAt));
      this.changed();
    } catch {
      // Offline: the socket says when to try again.
    }
  }

  // uncut fetches the whole of one line.
  async uncut(n: number): Promise<void> {
    const got = await this.ask(n, 1, 0);
    const line = got.lines[0];
    if (line) this.whole.set(n, line);
    this.changed();
  }

  begin(total: number, complete: boolean): void {
    this.total = total;
    this.complete = complete;
    this.known = true;
  }

  grown(total: number): void {
    this.total = Math.max(this.total, total);
  }

  private took(a: Answer): void {
    this.known = true;
    this.grown(a.meta.total);
    this.complete ||= a.meta.complete;
  }

  private async ask(from: number, n: number, cut: number, signal?: AbortSignal): Promise<Answer> {
    const q = `from=${from}&n=${n}` + (cut ? `&cut=${cut}` : "");
    const r = await fetch(`/api/v2/logs/${this.log}/lines?${q}`, { headers: { Accept: "application/json" }, signal: signal ?? null });
    if (!r.ok) throw new Error(`lines of log ${this.log}: ${r.status}`);
    return (await r.json()) as Answer;
  }
}
