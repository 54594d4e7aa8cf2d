// The token is taken once; what the browser keeps is a cookie that no script can read.
import { ask, el, put } from "./page.js";

const PATH = "/api/v1/session";
let session = null;

export async function look() {
  session = await ask(PATH);
  return session;
}

export async function end() {
  await ask(PATH, { method: "DELETE", headers: { [session.header]: session.csrf } });
  return look();
}

export function form(place, done) {
  const problem = el("p", { role: "alert", class: "bad" });
  const field = el("input", { id: "token", type: "password", autocomplete: "current-password", required: true, spellcheck: "false" });
  const button = el("button", { type: "submit" }, "Log in");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      session = await ask(PATH, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token: field.value }),
      });
      field.value = "";
      done(session);
    } catch (error) {
      problem.textContent = error.message;
      field.select();
    } finally {
      button.disabled = false;
    }
  };
  put(
    place,
    el("h1", {}, "Log in"),
    el("p", {}, "This coordinator shows itself to who has its token: it is in its state directory, file ", el("code", {}, "token"), "."),
    el("form", { submit }, el("label", { for: "token" }, "Token"), field, button),
    problem,
  );
  field.focus();
}
