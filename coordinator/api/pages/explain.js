// The whole story of a cell, from what was declared to what would settle it: as `segwatch explain` tells it.
import { el, glyph, link } from "./page.js";
import { NO_PACKET, NO_SESSION, clock, glyphOf, harm, headline, number, plural, shortPorts, standing, where } from "./words.js";

const MOST = 200;
const INSIDE = { open: "an answer", closed: "'closed'", filtered: "silence", "open|filtered": "silence" };
const CANARY = {
  clear: "canary: closed or silent before and after",
  open: "canary: open too, so that everything there seems open",
  unknown: "canary: unknown",
};
const WHAT = { "came-back": "came back", strange: "no token" };
const round2 = (value) => Number(value.toPrecision(2));
const over = (flows, seconds) => `${plural(flows, "flow")}${seconds ? ` and ${seconds} s` : ""}`;

export function explanation(body, now) {
  const { finding, cell, evidence, declared } = body;
  const rows = [["declared", [declared.text, declared.at && el("span", { class: "dim" }, ` ${declared.at}`)]]];
  const near = declared.nearest;
  if (near) rows.push(["nearest", `line ${near.line} '${near.path}' (from ${near.from} to ${near.to})`]);
  if (declared.waiver) rows.push(["waived", `by ${declared.waiver.id}, line ${declared.waiver.line}, until ${declared.waiver.expires}`]);
  if (finding && finding.result === "fail") rows.push(["why", harm(finding)]);
  if (cell && evidence && body.round) {
    rows.push(["round", about(body.round, evidence, now)], ["sent", sent(evidence)], ["came back", heard(evidence)]);
    rows.push(["control", controls(evidence)], ["witness", witness(body.witness, cell, evidence)]);
  }
  if (body.row) rows.push(["so", `${body.row.text} (table row ${body.row.number})`]);
  if (body.limits) rows.push(["limits", limits(body.limits)]);
  if (body.means) rows.push(["meaning", body.means]);
  body.settle.forEach((text, index) => rows.push([index ? "" : body.result === "fail" ? "next" : "settle", text]));
  if (finding?.identified) rows.push(["identified", finding.identified]);
  if (finding?.cwe.length) rows.push(["weakness", finding.cwe.join(", ")]);
  if (body.acknowledged) rows.push(["acknowledged", `by ${body.acknowledged.by}: ${body.acknowledged.reason}`]);
  rows.push(...command(body));
  return [
    head(body, now),
    el("dl", { class: "story" }, rows.filter(([, said]) => said && said.length !== 0).map(([label, said]) => el("div", {}, el("dt", {}, label), el("dd", {}, said)))),
    body.exchange ? packets(body.exchange) : null,
    body.history.length ? history(body.history, now) : null,
  ];
}

function command({ finding, cell }) {
  if (finding) return [["evidence", el("code", {}, `segwatch findings export ${finding.id} --pcap ${finding.id}.pcapng`)]];
  if (!cell) return [];
  const port = cell.ports === null ? "icmp" : `${cell.protocol}/${parseInt(cell.ports, 10)}`;
  return [["evidence", el("code", {}, `segwatch explain --from ${cell.agent} --to ${cell.address} --port ${port}`)]];
}

function head(body, now) {
  const { finding, cell } = body;
  let [sign, style] = glyphOf(body.result ?? finding?.result ?? "not-run");
  if (body.grade) sign = body.grade === "no packet" ? NO_PACKET : NO_SESSION;
  const to = cell && `${cell.destination}${cell.service ? `.${cell.service}` : ""} ${cell.address} ${shortPorts(cell.ports, cell.protocol)}`;
  const title = finding ? headline(finding) : `${cell.source} (${cell.agent}) → ${to}`;
  const parts = [];
  if (finding) parts.push(finding.id, finding.severity, `${where(finding)} ${shortPorts(finding.ports, finding.protocol)}`);
  if (cell && cell.reachability !== null) {
    parts.push(`${cell.reachability}, ${cell.proof === "none" ? cell.reason : `proof: ${cell.proof}`} (table row ${cell.row})`);
  }
  if (body.result !== null) parts.push(`${body.result}${body.grade ? `, ${body.grade}` : ""}`);
  if (finding) parts.push(`${counted(finding)} since ${clock(body.first_seen, now)} UTC (${plural(body.rounds ?? 0, "round")})`);
  const pair = finding ? [finding.source.environment, finding.destination.environment] : [cell.source, cell.destination];
  return [
    el("h1", {}, glyph(sign, style, `${body.result ?? "not run"}: `), " ", title),
    el("p", {}, parts.join(" · ")),
    el("p", {}, el("a", { href: link("pair", ...pair) }, `all of ${pair[0]} → ${pair[1]}`)),
  ];
}

function counted(finding) {
  const { failing, rounds } = finding.recent;
  return standing(finding) + (finding.flapping ? ` (failed in ${failing} of its last ${rounds} rounds)` : "");
}

const about = (of, e, now) =>
  `${of.id}${of.run ? ` of ${of.run}` : ""}, ${of.schedule}, ${clock(of.observed_at, now)} UTC${e.loss === null ? "" : `, loss at most ${round2(e.loss * 100)}%`}`;

const sent = (e) => `${plural(e.sent, "copy", "copies")} over ${over(e.flows, e.span_s)}, ${e.way || "not sent"}${e.via ? ` via ${e.via}` : ""}`;

function heard(e) {
  const facts = [e.state === "error" ? e.reason : e.state === "filtered" ? "silence" : `${e.state}: ${e.reason}`];
  if (e.rtt_ms !== null) facts.push(`${e.rtt_ms.toFixed(3)} ms`);
  if (e.hops !== null) facts.push(plural(e.hops, "hop"));
  if (e.note) facts.push(`said "${e.note}"${e.inside_same ? `, as ${e.inside_by} heard inside` : ""}`);
  return facts.join(", ");
}

function controls(e) {
  let inside = "inside: nobody asked";
  if (e.inside) {
    inside = `inside: ${e.inside_by || "another agent"} got ${Object.hasOwn(INSIDE, e.inside) ? INSIDE[e.inside] : `'${e.inside}'`} from it`;
    if (e.inside_once) inside += ", before the source's packets, and nothing is known of after them";
  }
  const source = e.control
    ? e.control_by ? `source: ${e.control_by}` : "source: its packets got out"
    : "source: no packet of it was shown to get out";
  return [inside, Object.hasOwn(CANARY, e.canary ?? "") ? CANARY[e.canary] : "", source].filter(Boolean).join("; ");
}

function witness(name, cell, e) {
  if (e.arrival === "no-witness") {
    if (!name) return `none on ${cell.address} (an agent there would show whether the packet arrives)`;
    return `${name} could not tell${e.no_witness_why ? `: ${e.no_witness_why}` : ""}`;
  }
  if (e.arrival === "not-seen") return `${name ?? "the witness"} listened the whole time and saw none of the ${e.sent} copies`;
  const came = e.came_from ? ` from ${e.came_from}` : "";
  const host = `the host ${e.answered ? "answered" : "did not answer"}, ${e.bound ? "a socket is bound there" : "no socket is bound there"}`;
  const altered = e.altered ? `; the ${{ sequence: "sequence number", timestamp: "timestamp" }[e.altered] ?? ""} was rewritten on the way` : "";
  return `${name ?? "the witness"} saw ${plural(e.arrived, "copy", "copies")} arrive${came}; ${host}${altered}`;
}

function limits({ flows, seconds, loss, share }) {
  const lost = loss === null ? "" : `, loss at most ${round2(loss * 100)}%`;
  return `over ${over(flows, seconds)}${lost}: a leak for up to ${(share * 100).toFixed(0)}% of the flows, or one that was closed just then, could have been missed (1 chance in 20)`;
}

function packets({ packets: kept, source, clocks, exact, protocol, port }) {
  const zero = kept.find((packet) => packet.side === "source")?.at_ms ?? 0;
  const shown = kept.slice(0, MOST);
  const shift = (packet) => packet.at_ms - zero + (packet.side === "witness" ? clocks?.shift_ms ?? 0 : 0);
  const heads = [`ms since ${source.agent} sent the first`, "who", "", "packet", "ports", "TTL"];
  return el("section", {},
    el("h2", {}, "Packets"),
    !exact && el("p", {}, `of ${protocol}/${port}, which looked the same: none of the port itself are kept`),
    !clocks && kept.some((packet) => packet.side === "witness") && el("p", {}, "the witness's by its own clock"),
    el("div", { class: "scroll wide", tabindex: "0", role: "region", "aria-label": "packets" }, el("table", { class: "cells" },
      el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, shown.map((packet) => el("tr", {},
        [shift(packet).toFixed(3), packet.agent, WHAT[packet.what] ?? packet.what, packet.said,
          packet.source_port === null ? "" : `:${packet.source_port} → :${packet.destination_port}`, packet.ttl === null ? "" : number(packet.ttl)]
          .map((text) => el("td", {}, text))))))),
    kept.length > MOST && el("p", {}, `… ${plural(kept.length - MOST, "more packet")}: --pcap FILE has them all`));
}

const history = (events, now) => el("section", {}, el("h2", {}, "History"),
  el("ol", { class: "history" }, events.map((event) => el("li", {},
    `${clock(event.at, now)} ${event.what}${event.by ? ` by ${event.by}` : ""}${event.text ? `: ${event.text}` : ""}`))));
