// Agents as a table, in the terminal's words; ages count on between two statuses.
import { el, glyph, put } from "./page.js";
import { ago, clock, endsSoon, notes, number, plural, whyLost } from "./words.js";

export function draw(place, status, now, matches = () => true) {
  const passed = Math.max(0, (now - Date.parse(status.now)) / 1000);
  const listed = status.agents.filter((one) => matches(one.name, one.environment, one.state));
  const warnings = Object.entries(status.certificates)
    .map(([holder, certificate]) => [holder, endsSoon(certificate)])
    .filter(([, words]) => words)
    .map(([holder, words]) => `${holder}: its ${words}`);
  if (status.refused.count) {
    warnings.push(`refused ${plural(status.refused.count, "message")} from agents, last: ${status.refused.newest.at(-1)}`);
  }
  put(place,
    listed.length ? el("table", { class: "agents" },
      el("thead", {}, el("tr", {}, ["agent", "environment", "state", "last cycle", "packets/s", "spooled", "lost", "to note"]
        .map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, listed.map((agent) => row(agent, passed))))
      : el("p", {}, status.agents.length ? "no agent matches" : "no agent is declared"),
    warnings.map((text) => el("p", { class: "warn" }, `! ${text}`)));
}

function row(agent, passed) {
  const up = agent.state === "connected";
  const lost = agent.lost.reports + agent.lost.untold;
  const why = agent.lost.why.length ? ` (${whyLost(agent.lost)})` : "";
  const cells = [
    ["environment", agent.environment],
    ["state", agent.state],
    ["last cycle", agent.age_s === null ? "no cycle yet" : ago(agent.age_s + passed)],
    ["packets/s", number(agent.rate_pps)],
    ["spooled", number(agent.spooled)],
    ["lost", lost ? `${number(lost)}${why}` : "0"],
    ["to note", notes(agent).map((note) => el("p", { class: "warn" }, note))],
  ];
  return el("tr", {}, el("th", { scope: "row" }, glyph(up ? "●" : "○", up ? "good" : "bad"), " ", agent.name),
    cells.map(([label, said]) => el("td", { "data-label": label }, said)));
}

export function about(status, now) {
  const here = status.agents.filter((one) => one.state === "connected").length;
  const age = (text) => (text ? `${ago((now - Date.parse(text)) / 1000)} (${clock(text, now)} UTC)` : "none yet");
  return [
    ["newest proof", age(status.last_cycle)],
    ["oldest proof", age(status.oldest_proof)],
    ["agents here", `${here} of ${status.agents.length}`],
    ["topology", `${status.topology.file}, in force since ${clock(status.topology_loaded, now)} UTC`],
  ];
}
