// Which page an address means, and what stands above all of them.
import { Live } from "./live.js";
import * as login from "./login.js";
import { Explained, Pair } from "./pair.js";
import { Overview } from "./overview.js";
import { el, put } from "./page.js";
import { clock } from "./words.js";

const main = document.getElementById("main");
const gone = document.getElementById("gone");
const who = document.getElementById("session");
let view = null;

const live = new Live({ changed: (parts) => view?.draw(parts), told: stand, refused: ask });

// An address is #/ and names, each encoded.
function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map((part) => {
    try { return decodeURIComponent(part); } catch { return part; }
  });
  view?.close();
  view = null;
  document.title = "segwatch";
  if (name === "pair" && rest.length === 2) view = new Pair(main, live, ...rest);
  else if (name === "finding" && rest.length === 1) view = new Explained(main, live, { finding: rest[0] });
  else if (name === "cell" && rest.length === 3) view = new Explained(main, live, { from: rest[0], to: rest[1], port: rest[2] });
  else if (name === "login") login.form(main, () => { location.hash = "#/"; begin(); });
  else if (name === "") view = new Overview(main, live);
  else put(main, el("h1", {}, "There is no such page"), el("p", {}, el("a", { href: "#/" }, "To the overview")));
}

function stand() {
  document.body.classList.toggle("gone", Boolean(live.goneSince));
  gone.hidden = !live.goneSince;
  const last = live.whole ? `; the picture is of ${clock(live.parts.status.now, live.clock())}` : "";
  gone.textContent = live.goneSince ? `! coordinator gone since ${clock(live.goneSince.toISOString())} UTC${last}; reconnecting` : "";
}

// The coordinator wants to know who asks.
function ask() {
  live.close();
  live.goneSince = null;
  stand();
  view?.close();
  view = null;
  login.form(main, () => begin());
}

function identity(session) {
  if (session.logged_in) {
    put(who, el("button", { type: "button", click: async () => { await login.end(); begin(); } }, "Log out"));
  } else {
    put(who, el("a", { href: "#/login" }, "Log in"));
  }
}

async function begin() {
  try {
    const session = await login.look();
    identity(session);
    if (!session.reads) return ask();
  } catch { /* it is not there: the stream says so, and comes back by itself */ }
  live.open();
  route();
}

addEventListener("hashchange", () => { route(); main.focus({ preventScroll: true }); scrollTo(0, 0); });
begin();
