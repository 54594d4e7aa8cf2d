// Findings as a list, the newest first, those that stand before what is over.
import { el, glyph, link, put } from "./page.js";
import { clock, glyphOf, harm, headline, plural, standing } from "./words.js";

const FIRST = 50;
const MEANS = { "✗": "fails: ", "~": "waived: ", "?": "unproven: ", "✓": "passes: " };
let all = false;

export function draw(place, findings, now, matches = () => true) {
  const newest = [...findings].sort((a, b) => (a.first_seen < b.first_seen ? 1 : a.first_seen > b.first_seen ? -1 : 0));
  const listed = newest.filter((one) => matches(one.id, headline(one), one.severity, one.status));
  const standing = listed.filter((one) => one.result !== "pass");
  const over = listed.filter((one) => one.result === "pass");
  const shown = all ? standing : standing.slice(0, FIRST);
  const more = standing.length - shown.length;
  put(place,
    standing.length
      ? el("ul", { class: "findings" }, shown.map((one) => item(one, now)))
      : el("p", {}, over.length ? "no finding stands" : findings.length ? "no finding matches" : "no finding"),
    more ? el("button", { type: "button", "data-key": "more", click: () => { all = true; draw(place, findings, now, matches); } },
      `show ${plural(more, "more finding")}`) : null,
    over.length ? el("details", {}, el("summary", { "data-key": "over" }, `${plural(over.length, "finding")} resolved`),
      el("ul", { class: "findings" }, over.slice(0, FIRST).map((one) => item(one, now)))) : null);
}

function item(finding, now) {
  const [sign, style] = glyphOf(finding.result);
  const why = finding.result === "fail" ? harm(finding) : "";
  return el("li", {},
    el("p", {}, glyph(sign, style, MEANS[sign]), " ",
      el("a", { href: link("finding", finding.id), "data-key": finding.id }, headline(finding))),
    el("p", { class: "dim" }, `${finding.id} ${finding.severity}, ${standing(finding)} since ${clock(finding.first_seen, now)}`),
    why && el("p", { class: "dim" }, `why: ${why}`));
}
