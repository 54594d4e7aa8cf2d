// What the coordinator knows, as it says it: server-sent events, and whether what is here is still so.

const PARTS = ["status", "matrix", "coverage", "findings"];
const SILENT_MS = 12000; // it says every five seconds that it is there
const PATIENCE_MS = 3000; // a stream that ends is begun anew within a second
const AGAIN_MS = 2000;

export class Live {
  // `changed` is called with the parts that are new, `told` when it is gone or back, `refused` when it asks who we are.
  constructor({ changed, told, refused }) {
    Object.assign(this, { changed, told, refused, parts: {}, goneSince: null });
    this.heardAt = this.failedAt = null;
    this.now = { at: Date.now(), here: performance.now() };
    this.waiting = new Set();
    setInterval(() => this.watch(), 500);
    // A browser has six connections to one place: a page that nobody looks at holds none.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
  }

  get whole() {
    return PARTS.every((part) => part in this.parts);
  }

  // The coordinator's clock, epoch milliseconds.
  clock() {
    return this.now.at + (performance.now() - this.now.here);
  }

  open() {
    if (this.source || document.hidden) return;
    clearTimeout(this.again);
    const source = (this.source = new EventSource("/api/v1/events"));
    for (const part of PARTS) {
      source.addEventListener(part, (event) => {
        this.parts[part] = JSON.parse(event.data);
        this.heard();
        if (!this.waiting.size) queueMicrotask(() => this.tell());
        this.waiting.add(part);
      });
    }
    source.addEventListener("beat", (event) => {
      this.now = { at: Date.parse(JSON.parse(event.data).now), here: performance.now() };
      this.heard();
    });
    source.addEventListener("error", () => this.failed(source));
    this.failedAt ??= performance.now();
  }

  close() {
    clearTimeout(this.again);
    this.source?.close();
    this.source = null;
    this.failedAt = this.heardAt = null;
  }

  heard() {
    this.heardAt = performance.now();
    this.failedAt = null;
    if (this.goneSince) {
      this.goneSince = null;
      this.told();
    }
  }

  tell() {
    const parts = new Set(this.waiting);
    this.waiting.clear();
    if (this.whole) this.changed(parts);
  }

  async failed(source) {
    this.failedAt ??= performance.now();
    if (source.readyState !== EventSource.CLOSED) return; // it tries again by itself
    source.close();
    this.source = null;
    const session = await fetch("/api/v1/session", { cache: "no-store" }).then((answer) => answer.json()).catch(() => null);
    if (session && session.reads === false) this.refused();
    else this.again = setTimeout(() => this.open(), AGAIN_MS);
  }

  watch() {
    const now = performance.now();
    const silent = this.heardAt !== null && now - this.heardAt > SILENT_MS;
    const failed = this.failedAt !== null && now - this.failedAt > PATIENCE_MS;
    if (silent && this.source) {
      this.source.close();
      this.source = null;
      this.heardAt = null;
      this.failedAt = now - PATIENCE_MS;
      this.open();
    }
    if (!this.goneSince && (silent || failed)) {
      this.goneSince = new Date(this.clock());
      this.told();
    }
  }
}
