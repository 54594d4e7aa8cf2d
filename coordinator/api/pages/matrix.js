// Environments against environments. Arrow keys move, Enter opens; the heads stay in sight.
import { el, glyph, link, put } from "./page.js";
import { LEGEND, key, live, pairCell } from "./words.js";

const MANY = 10; // from here on column heads stand upright
const MEANS = { "✓": "", ...Object.fromEntries(LEGEND.map(([sign, , means]) => [sign, means])) };
let at = null; // the pair that the arrow keys are on

export function legend() {
  return el("ul", { class: "legend", "aria-label": "What the signs mean" }, LEGEND.map(([sign, style, means]) =>
    el("li", {}, el("span", { class: style, "aria-hidden": "true" }, sign), ` ${means}`)));
}

// Which environments are shown: rows that match, as in the terminal, and of these what is not proven alone where that is asked.
function shown(names, cells, filter, open) {
  const matching = names.filter((name) => name.toLowerCase().includes(filter));
  const rows = matching.length ? matching : names;
  if (!open) return [rows, names];
  const pairs = rows.flatMap((a) => names.filter((b) => a !== b && cells.get(key(a, b)).some(([, style]) => style !== "good")).map((b) => [a, b]));
  return [rows.filter((a) => pairs.some(([one]) => one === a)), names.filter((b) => pairs.some(([, other]) => other === b))];
}

export function draw(place, { matrix, coverage, findings }, { filter = "", open = false } = {}) {
  const names = matrix.environments;
  const entries = new Map(coverage.pairs.map((pair) => [key(pair.source, pair.destination), pair]));
  const failing = Map.groupBy
    ? Map.groupBy(live(findings), (one) => key(one.source.environment, one.destination.environment))
    : grouped(live(findings), (one) => key(one.source.environment, one.destination.environment));
  const cells = new Map(matrix.pairs.map((pair) => {
    const name = key(pair.source, pair.destination);
    return [name, pairCell(pair.results, entries.get(name), failing.get(name) ?? [])];
  }));
  const [rows, columns] = shown(names, cells, filter, open);
  if (!rows.length || !columns.length) {
    put(place, el("p", {}, names.length ? "every pair is proven" : "no environment is declared"));
    return;
  }
  const pairs = rows.flatMap((a) => columns.filter((b) => a !== b).map((b) => key(a, b)));
  if (!pairs.includes(at)) at = pairs[0] ?? null;
  put(place, el("table", { class: columns.length >= MANY ? "matrix many" : "matrix", keydown: move },
    el("caption", {}, "matrix: from row to column"),
    el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "corner" }, "from \\ to"),
      columns.map((name) => el("th", { scope: "col" }, el("span", {}, name))))),
    el("tbody", {}, rows.map((a, row) => el("tr", {}, el("th", { scope: "row" }, a),
      columns.map((b, column) => (a === b ? el("td", { class: "self" }, "·") : cell(a, b, cells.get(key(a, b)), row, column))))))));
}

function grouped(list, by) {
  const found = new Map();
  for (const one of list) found.set(by(one), [...(found.get(by(one)) ?? []), one]);
  return found;
}

function cell(source, destination, parts, row, column) {
  const name = key(source, destination);
  const said = parts.map(([text, style]) => {
    const sign = text.slice(0, 1);
    return sign in MEANS
      ? el("span", { class: "part" }, glyph(sign, style, MEANS[sign] && `${MEANS[sign]}: `), text.slice(1))
      : el("span", { class: `part ${style}` }, text);
  });
  const worst = parts[0][1];
  return el("td", { class: `cell ${parts.find(([, style]) => style === "warn") && worst !== "bad" ? "warn" : worst}` },
    el("a", {
      href: link("pair", source, destination), tabindex: name === at ? "0" : "-1", title: `${source} → ${destination}`,
      "data-key": name, "data-row": row, "data-column": column, focus: () => { at = name; },
    }, said));
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function move(event) {
  const step = STEPS[event.key];
  const from = event.target.closest("a");
  if (!step || !from) return;
  event.preventDefault();
  let [row, column] = [Number(from.dataset.row), Number(from.dataset.column)];
  for (let tries = 0; tries < 2; tries += 1) { // over the diagonal
    [row, column] = [row + step[0], column + step[1]];
    const to = event.currentTarget.querySelector(`a[data-row="${row}"][data-column="${column}"]`);
    if (to) {
      from.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
      return;
    }
  }
}
