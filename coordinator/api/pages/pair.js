// What is opened from the overview: a pair's findings and cells, and why one of them has its result.
import { explanation } from "./explain.js";
import * as findings from "./findings.js";
import { ask, el, glyph, link, put } from "./page.js";
import { LEGEND, NO_PACKET, NO_SESSION, glyphOf, key, live as failing, pairCell, percent, plural, shortPorts } from "./words.js";

const MOST = 500;
const AGAIN_MS = 1000;
const ORDER = ["fail", "waived", "inconclusive", "stale", "not-run", "pass"];
const MEANS = Object.fromEntries(LEGEND.map(([sign, , means]) => [sign, means]));

// A page that asks the API for more whenever what it is about has changed, once a second at most.
class Asking {
  constructor(place, live) {
    Object.assign(this, { live, closed: false, busy: false, again: false });
    this.problem = el("p", { role: "alert", class: "warn" });
    this.body = el("div", {}, el("p", {}, "asking …"));
    put(place, el("p", { class: "way" }, el("a", { href: "#/" }, "← overview")), this.problem, this.body);
  }

  close() {
    this.closed = true;
  }

  draw(parts) {
    if (!parts || ["matrix", "coverage", "findings"].some((part) => parts.has(part))) this.fetch();
  }

  async fetch() {
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    try {
      const found = await this.get();
      if (!this.closed) this.show(found);
      this.problem.textContent = "";
    } catch (error) {
      this.problem.textContent = error.message;
    }
    setTimeout(() => {
      this.busy = false;
      if (this.again && !this.closed) {
        this.again = false;
        this.fetch();
      }
    }, AGAIN_MS);
  }
}

export class Pair extends Asking {
  constructor(place, live, source, destination) {
    super(place, live);
    Object.assign(this, { source, destination });
    document.title = `${source} → ${destination} · segwatch`;
    this.fetch();
  }

  get() {
    const query = new URLSearchParams({ cells: "1", source: this.source, destination: this.destination });
    return ask(`/api/v1/matrix?${query}`);
  }

  show({ pairs, cells }) {
    const mine = ({ source, destination }) => source === this.source && destination === this.destination;
    const pair = pairs.find(mine);
    if (!pair) {
      put(this.body, el("h1", {}, `${this.source} → ${this.destination}: no such pair`));
      return;
    }
    const { coverage, findings: found = [] } = this.live.parts;
    const listed = found.filter((one) => mine({ source: one.source.environment, destination: one.destination.environment }));
    const entry = coverage?.pairs.find(mine) ?? { cells: cells.length, coverage: pair.coverage };
    const parts = pairCell(pair.results, entry, failing(listed));
    const list = el("div");
    findings.draw(list, listed, this.live.clock());
    const sorted = [...cells].sort((a, b) => ORDER.indexOf(a.result) - ORDER.indexOf(b.result));
    put(this.body,
      el("h1", {}, `${this.source} → ${this.destination}: `, parts.map(([text, style], index) => [index ? ", " : "", el("span", { class: style }, text)])),
      el("p", {}, `${plural(entry.cells, "cell")}, ${percent(pair.coverage)} proven`),
      el("section", {}, el("h2", {}, "Findings, newest first"), list),
      el("section", {}, el("h2", {}, "Cells that came out alike"),
        sorted.length ? el("div", { class: "scroll wide", tabindex: "0", role: "region", "aria-label": "cells" }, table(sorted.slice(0, MOST))) : el("p", {}, "no cells"),
        sorted.length > MOST && el("p", {}, `The first ${MOST} of ${plural(sorted.length, "range")}, the worst first. All: segwatch matrix --cells`)));
  }
}

function table(cells) {
  const heads = ["from", "to", "ports", "declared", "reachability", "why"];
  return el("table", { class: "cells" }, el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, cells.map((cell) => {
      let [sign, style] = glyphOf(cell.result);
      if (cell.result === "pass" && cell.declared === "denied") sign = cell.reachability === "blocked" ? NO_PACKET : NO_SESSION;
      const to = `${cell.destination} ${cell.address}${cell.service ? ` ${cell.service}` : ""}`;
      const port = cell.ports === null ? "icmp" : `${cell.protocol}/${parseInt(cell.ports, 10)}`;
      return el("tr", {},
        el("td", {}, glyph(sign, style, `${MEANS[sign] ?? cell.result}: `), " ",
          el("a", { href: link("cell", cell.agent, cell.address, port), "data-key": key(cell.agent, `${cell.address} ${cell.protocol}/${cell.ports}`) }, cell.agent)),
        [to, shortPorts(cell.ports, cell.protocol, 16), cell.declared, cell.reachability ?? cell.result, why(cell)].map((text) => el("td", {}, text)));
    })));
}

function why(cell) {
  if (cell.reachability === null) return cell.result;
  if (cell.result === "stale" || cell.result === "waived") return `${cell.result}, ${cell.reason}`;
  return cell.proof === "none" ? String(cell.reason) : `${cell.proof}, row ${cell.row}`;
}

export class Explained extends Asking {
  constructor(place, live, asked) {
    super(place, live);
    this.asked = asked;
    document.title = `${asked.finding ?? `${asked.from} → ${asked.to} ${asked.port}`} · segwatch`;
    this.fetch();
  }

  get() {
    return ask(`/api/v1/explain?${new URLSearchParams(this.asked)}`);
  }

  show(body) {
    put(this.body, explanation(body, this.live.clock()));
  }
}
