// Nodes of the page. What comes from outside is only ever text: a string becomes a text node, never markup.

export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return node;
}

// A glyph with its meaning for who hears the page; a colour never stands alone.
export function glyph(sign, style, said) {
  return el("span", { class: style }, el("span", { "aria-hidden": "true" }, sign), said && el("span", { class: "heard" }, said));
}

// Others' nodes in a place that stays, with the focus where it was.
export function put(place, ...nodes) {
  const held = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
  if (held) place.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
}

export const link = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

// A body of the API; an Error with its sentence where there is none.
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch {
    throw new Error("the coordinator does not answer");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(body.error ?? `the coordinator answers ${answer.status}`), { status: answer.status });
  return body;
}
