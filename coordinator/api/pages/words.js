// The words of the command line (cli/show), for what it shows too: the two say the same of the same.

export const NO_PACKET = "■";
export const NO_SESSION = "□";
export const LEGEND = [
  [NO_PACKET, "good", "no packet"],
  [NO_SESSION, "good", "no session"],
  ["✗", "bad", "fails"],
  ["~", "warn", "waived"],
  ["?", "warn", "unproven"],
];
const GLYPHS = { fail: ["✗", "bad"], waived: ["~", "warn"], pass: ["✓", "good"] };
const SKEW_S = 5;

export const glyphOf = (result) => GLYPHS[result] ?? ["?", "warn"];

const counts = new Intl.NumberFormat("en-US");
export const number = (count) => counts.format(count);

export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

// A share, rounded down: 100% is all of it, nothing less.
export function percent(ratio) {
  return ratio >= 1 ? "100%" : `${Math.floor(ratio * 1000) / 10}%`;
}

// 12:04:07, in UTC; with the day where it is not today's.
export function clock(text, now = Date.now()) {
  if (!text) return "never";
  const at = new Date(text);
  const said = at.toISOString();
  return Math.abs(now - at.getTime()) < 20 * 3600e3 ? said.slice(11, 19) : `${said.slice(0, 10)} ${said.slice(11, 19)}`;
}

export function ago(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 120) return `${s} s ago`;
  if (s < 7200) return `${Math.floor(s / 60)} min ago`;
  return s < 172800 ? `${Math.floor(s / 3600)} h ago` : `${Math.floor(s / 86400)} days ago`;
}

export const key = (source, destination) => JSON.stringify([source, destination]);

// Findings that stand.
export const live = (findings) => findings.filter((one) => one.result === "fail");

export function pairCell(results, entry, failing) {
  if (!entry || !entry.cells) return [["no cells", "dim"]];
  const parts = [];
  if (results.fail) {
    const text = failing.length ? plural(failing.length, "path") : plural(results.fail, "cell");
    const missing = failing.length && failing.every((one) => one.kind === "missing-path");
    parts.push([`✗ ${text}${missing ? " missing" : ""}`, "bad"]);
  } else if (entry.declared_paths) {
    parts.push([`✓ ${entry.declared_paths} declared`, "good"]);
  }
  if (results.waived) parts.push([`~ ${results.waived} waived`, "warn"]);
  if (entry.coverage < 1) {
    const untested = entry.not_run === entry.required;
    const stale = entry.stale === entry.required;
    parts.push([untested ? "? not run" : stale ? "? stale" : `? ${percent(entry.coverage)}`, "warn"]);
  } else if (!results.fail) {
    parts.push([`${entry.no_session ? NO_SESSION : NO_PACKET} ${percent(entry.coverage)}`, "good"]);
  }
  return parts;
}

export function counted(coverage, environments) {
  const greens = coverage.no_packet + coverage.no_session;
  let grades = "";
  if (greens) {
    const whole = Math.floor((coverage.no_packet / greens) * 1000) / 10;
    grades = ` (${whole}% no packet, ${Number((100 - whole).toPrecision(3))}% no session)`;
  }
  return `${plural(environments, "environment")}, ${plural(coverage.cells, "cell")}, ${percent(coverage.coverage)} proven${grades}`;
}

// The first line: a word, how it is meant, and what it comes to.
export function sentence({ status, matrix, coverage, findings }, now) {
  const failing = live(findings).length;
  const [word, style] = failing ? ["FAIL", "bad"] : coverage.coverage >= 1 ? ["PASS", "good"] : ["UNPROVEN", "warn"];
  const text = `${plural(failing, "finding")} · ${counted(coverage, matrix.environments.length)}`;
  const stopped = status.stopped ? `since ${clock(status.stopped_at, now)}: ${status.stopped}` : "";
  return { word, style, text, stopped };
}

const whatOf = ({ service, addresses }) => {
  const services = service ? service.split(",") : [];
  if (services.length === 1) return services[0];
  return addresses.length === 1 ? addresses[0] : plural(addresses.length, "address", "addresses");
};

// dev → prod.model-registry, or the addresses where it belongs to no service.
export function where({ source, destination }) {
  const one = destination.service && !destination.service.includes(",");
  return `${source.environment} → ${destination.environment}${one ? "." : " "}${whatOf(destination)}`;
}

// dev can reach prod's model registry.
export function headline(finding) {
  const source = finding.source.environment;
  const to = finding.destination;
  const what = to.service && !to.service.includes(",") ? whatOf(to).replaceAll("-", " ") : whatOf(to);
  if (finding.result === "pass") return `${source} → ${to.environment}'s ${what}: as declared again`;
  if (finding.kind === "missing-path") return `${source} cannot reach ${to.environment}'s ${what}`;
  return `${source} ${finding.reachability === "one-way" ? "gets packets to" : "can reach"} ${to.environment}'s ${what}`;
}

export const standing = (finding) => (finding.flapping ? `${finding.status}, flapping` : finding.status);

// Why it matters; "" where the declaration says nothing of it.
export function harm(finding) {
  const source = finding.source.environment;
  const destination = finding.destination.environment;
  if (finding.kind === "missing-path") return `what ${source} needs of ${destination} does not work: operational disruption`;
  const words = {
    "model tampering": `whoever is in ${source} can replace a model in ${destination}: model tampering`,
    "data leakage": `data of ${destination} or ${source} can leave for the other: data leakage`,
    "operational disruption": `what runs ${destination} can be stopped from ${source}: operational disruption`,
  };
  return finding.impact.map((word) => (Object.hasOwn(words, word) ? words[word] : word)).join("; ");
}

export function shortPorts(ports, protocol, width = 24) {
  if (ports === null) return protocol;
  if (ports.length <= width) return `${protocol}/${ports}`;
  const parts = ports.split(",");
  const kept = [parts.shift()];
  while (parts.length && [...kept, parts[0]].join(",").length <= width - 9) kept.push(parts.shift());
  return `${protocol}/${kept.join(",")},… (+${parts.length})`;
}

const WHY_LOST = {
  bytes: "its spool was full",
  age: "it could not send them for too long",
  disk: "its disk was full",
  size: "too large for a message",
  gone: "it does not say why",
};
export const whyLost = (lost) => lost.why.map((word) => (Object.hasOwn(WHY_LOST, word) ? WHY_LOST[word] : word)).join(", ");

export function endsSoon(certificate) {
  if (!certificate?.soon) return "";
  return certificate.days > 0 ? `certificate ends in ${plural(Math.round(certificate.days), "day")}` : "certificate has ended";
}

export function apart(skew) {
  const seconds = Math.abs(skew);
  const [unit, name] = [[3600, "h"], [60, "min"], [1, "s"]].find(([size]) => seconds >= 2 * size || size === 1);
  return `${(seconds / unit).toFixed(0)} ${name} ${skew > 0 ? "ahead of" : "behind"}`;
}

const UNCONFIRMED = {
  "not yet": "has not confirmed that all of its probing has ended",
  unable: "cannot confirm that its probing has ended: its version is older. Upgrade it",
};

// What there is to say of an agent besides that it is there, the worst first.
export function notes(agent) {
  const found = [];
  if (agent.problem) found.push(`not understood: ${agent.problem}`);
  if (agent.two_holders) {
    found.push(
      "two processes live under its name, so that nothing of it is proven: its bundle was copied. Make it worthless by " +
        `\`segwatch pki revoke ${agent.name}\`, then install a new one on one host`,
    );
  }
  if (Object.hasOwn(UNCONFIRMED, agent.stop ?? "")) found.push(UNCONFIRMED[agent.stop]);
  if (agent.lacks) found.push(`lacks: ${agent.lacks}`);
  if (agent.refusals) {
    const newest = agent.refused.length ? `, last: ${agent.refused.at(-1)}` : "";
    found.push(`refused ${plural(agent.refusals, "message")}${newest}`);
  }
  const ends = endsSoon(agent.certificate);
  if (ends) found.push(`its ${ends}`);
  const skew = agent.clock_skew_s;
  if (skew !== null && Math.abs(skew) >= SKEW_S) found.push(`its clock is ${apart(skew)} the coordinator's`);
  return [...found, ...agent.names_apart.map((words) => `sees names otherwise: ${words}`)];
}
