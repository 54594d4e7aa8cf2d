// One sentence, then the matrix, then what to do: `segwatch dashboard` in the browser.
import * as agents from "./agents.js";
import * as findings from "./findings.js";
import * as matrix from "./matrix.js";
import { el, put } from "./page.js";
import { clock, sentence } from "./words.js";

const SIGNS = { FAIL: "✗", PASS: "✓", UNPROVEN: "?" };

export class Overview {
  constructor(place, live) {
    this.live = live;
    this.filter = "";
    this.open = false;
    this.sentence = el("h1", { id: "sentence", role: "status", "aria-live": "polite", "aria-atomic": "true" });
    this.facts = el("dl", { class: "facts" });
    this.troubles = el("div", { id: "troubles" });
    this.matrix = el("div", { class: "scroll", role: "region", "aria-label": "matrix", tabindex: "0" });
    this.findings = el("div");
    this.agents = el("div", { class: "scroll wide" });
    const field = el("input", { id: "filter", type: "search", autocomplete: "off", spellcheck: "false",
      placeholder: "environment, service, finding, agent",
      input: () => { this.filter = field.value.toLowerCase(); this.draw(); } });
    const open = el("input", { id: "open", type: "checkbox", change: () => { this.open = open.checked; this.draw(); } });
    put(place, this.sentence, this.troubles, this.facts,
      el("div", { class: "tools" }, el("label", { for: "filter" }, "Filter"), field,
        el("label", {}, open, " only what is not proven")),
      el("div", { class: "panes" },
        el("section", { "aria-labelledby": "of-matrix" }, el("h2", { id: "of-matrix" }, "Matrix: from row to column"), this.matrix, matrix.legend()),
        el("section", { "aria-labelledby": "of-findings" }, el("h2", { id: "of-findings" }, "Findings, newest first"), this.findings)),
      el("section", { "aria-labelledby": "of-agents" }, el("h2", { id: "of-agents" }, "Agents"), this.agents));
    this.focus = (event) => {
      if (event.key === "/" && !event.target.closest("input, textarea")) { event.preventDefault(); field.focus(); }
    };
    document.addEventListener("keydown", this.focus);
    this.timer = setInterval(() => this.age(), 1000);
    this.draw();
  }

  close() {
    document.removeEventListener("keydown", this.focus);
    clearInterval(this.timer);
  }

  draw() {
    const { live } = this;
    if (!live.whole) return;
    const now = live.clock();
    const matches = (...texts) => !this.filter || texts.some((text) => text.toLowerCase().includes(this.filter));
    say(this.sentence, sentence(live.parts, now));
    put(this.troubles, troubles(live.parts.status, now).map((text) => el("p", { class: "warn" }, `! ${text}`)));
    matrix.draw(this.matrix, live.parts, this);
    findings.draw(this.findings, live.parts.findings, now, matches);
    agents.draw(this.agents, live.parts.status, now, matches);
    this.age();
  }

  // What counts on by itself.
  age() {
    if (!this.live.whole || this.live.goneSince) return;
    const now = this.live.clock();
    put(this.facts, agents.about(this.live.parts.status, now).map(([name, said]) => el("div", {}, el("dt", {}, name), el("dd", {}, said))));
  }
}

// Said again only where it is another: who hears the page is not told the same each time.
function say(place, { word, style, text, stopped }) {
  const whole = `${stopped ? `STOPPED ${stopped} · ` : ""}${word} ${text}`;
  document.title = `${SIGNS[word]} ${word} · segwatch`;
  if (place.textContent === whole) return;
  put(place, stopped && [el("strong", { class: "bad" }, "STOPPED"), ` ${stopped} · `], el("strong", { class: style }, word), ` ${text}`);
}

function troubles(status, now) {
  const found = [];
  if (status.topology_refused) {
    found.push(`the topology file was refused at ${clock(status.topology_refused.at, now)} UTC, the one before it is in force: ${status.topology_refused.errors.join("; ")}`);
  }
  if (status.store.problem) found.push(`the store cannot be written: ${status.store.problem}`);
  if (!status.broker.connected) found.push(`not connected to the broker${status.broker.problem ? `: ${status.broker.problem}` : ""}`);
  return [...found, ...status.floods.filter((one) => one.out_for_s !== null).map((one) => `${one.agent} sends more than an agent may: it is cut off`)];
}
