// Everything works without this file. It shows times in the reader's own zone, keeps the page fresh
// in place, and reads a chart out under the pointer or the arrow keys.
"use strict";

const REFRESH_MS = 10_000;
const DAY = 86_400_000;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SVG = "http://www.w3.org/2000/svg";
const pad = (n) => String(n).padStart(2, "0");
const minute = (at) => `${pad(at.getHours())}:${pad(at.getMinutes())}`;
const second = (at) => `${minute(at)}:${pad(at.getSeconds())}`;
const date = (at) => `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;

// Times

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = `${date(at)} ${second(at)}`;
    if (time.classList.contains("clock")) time.textContent = second(at);
    if (time.classList.contains("when")) time.textContent = `${date(at)} ${minute(at)}`;
  }
  for (const axis of root.querySelectorAll(".xs")) ticks(axis);
  for (const field of root.querySelectorAll("input[type=datetime-local][data-ms]")) {
    const at = new Date(Number(field.dataset.ms));
    field.setAttribute("value", `${date(at)}T${minute(at)}`);
  }
  for (const zone of root.querySelectorAll("#zone, .zone")) {
    zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "your zone";
  }
}

// Ticks at round times of the reader's zone instead of UTC.
function ticks(axis) {
  const from = Number(axis.dataset.from);
  const to = Number(axis.dataset.to);
  const step = Number(axis.dataset.step);
  if (!(to > from) || !(step > 0)) return;
  const at = new Date(from);
  at.setHours(0, 0, 0, 0);
  const days = Math.round(step / DAY);
  const texts = [];
  for (let n = 0; n < 4000 && at.getTime() <= to; n += 1) {
    const ms = at.getTime();
    if (ms >= from) texts.push(tick((ms - from) / (to - from), label(at, step)));
    if (days >= 1) at.setDate(at.getDate() + days);
    else at.setTime(ms + step);
  }
  axis.replaceChildren(...texts.slice(0, 9));
}

function label(at, step) {
  if (step >= DAY || at.getHours() + at.getMinutes() + at.getSeconds() === 0) return `${MONTHS[at.getMonth()]} ${at.getDate()}`;
  return step < 60_000 ? second(at) : minute(at);
}

function tick(share, text) {
  const element = document.createElementNS(SVG, "text");
  element.setAttribute("x", `${(share * 100).toFixed(2)}%`);
  element.setAttribute("y", "13");
  element.setAttribute("text-anchor", share < 0.03 ? "start" : share > 0.97 ? "end" : "middle");
  element.textContent = text;
  return element;
}

// A field without a zone means the reader's: it is sent as an instant.
document.addEventListener("submit", (event) => {
  const form = event.target;
  for (const field of form.querySelectorAll("input[type=datetime-local]")) {
    const at = new Date(field.value);
    if (Number.isNaN(at.getTime())) continue;
    const sent = document.createElement("input");
    sent.type = "hidden";
    sent.name = field.name;
    sent.value = at.toISOString();
    form.append(sent);
    field.disabled = true;
    // Back from the next page, the form is as it was.
    setTimeout(() => { sent.remove(); field.disabled = false; }, 0);
  }
});

// Charts

// What a chart says of a slot: the script keeps nothing of its own, so that a refresh may change all.
function readAt(canvas, slot) {
  const chart = canvas.closest(".chart");
  const lines = [...canvas.querySelectorAll("g[data-v]")];
  const values = lines.map((line) => line.dataset.v.split(","));
  const slots = 240;
  let best = null;
  for (const column of values) {
    column.forEach((text, at) => {
      if (text !== "" && (best === null || Math.abs(at - slot) < Math.abs(best - slot))) best = at;
    });
  }
  unread(canvas);
  if (best === null) return null;
  const from = Number(chart.dataset.from);
  const to = Number(chart.dataset.to);
  const at = new Date(from + ((best + 0.5) / slots) * (to - from));
  const share = (best + 0.5) / slots;
  const own = document.createElementNS(SVG, "line");
  own.setAttribute("class", "cursor");
  own.setAttribute("x1", `${share * 100}%`);
  own.setAttribute("x2", `${share * 100}%`);
  own.setAttribute("y2", canvas.getAttribute("height"));
  own.dataset.own = "";
  canvas.append(own);
  const said = lines.flatMap((line, nth) => {
    const text = values[nth][best];
    if (text === undefined || text === "") return [];
    return [`${line.dataset.name ? `${line.dataset.name} ` : ""}${figure(Number(text), chart.dataset.unit)}`];
  });
  const day = to - from > DAY / 2 ? `${MONTHS[at.getMonth()]} ${at.getDate()} ` : "";
  chart.querySelector(".read").textContent = `${day}${to - from > DAY ? minute(at) : second(at)} · ${said.join(" · ")}`;
  return best;
}

function unread(canvas) {
  for (const own of canvas.querySelectorAll("[data-own]")) own.remove();
  const read = canvas.closest(".chart").querySelector(".read");
  if (read) read.textContent = "";
}

function figure(x, unit) {
  const per = unit.endsWith("/s") ? "/s" : "";
  const bare = per ? unit.slice(0, -2) : unit;
  if (/^(B|bytes?)$/.test(bare)) return `${scaled(x, 1024, ["", "Ki", "Mi", "Gi", "Ti", "Pi"])}B${per}`;
  if (/^(s|seconds?)$/.test(bare) && !per && x !== 0 && Math.abs(x) < 1) return `${digits(x * 1000)} ms`;
  return `${digits(x)}${unit ? ` ${unit}` : ""}`;
}

function scaled(x, base, prefixes) {
  let at = 0;
  while (Math.abs(x) >= base && at + 1 < prefixes.length) {
    x /= base;
    at += 1;
  }
  return `${digits(x)} ${prefixes[at]}`;
}

function digits(x) {
  const size = Math.abs(x);
  if (x !== 0 && (size >= 1e15 || size < 1e-4)) return x.toExponential(2);
  return x.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 6 : 4 });
}

const canvasOf = (event) => (event.target instanceof Element ? event.target.closest(".canvas") : null);
let hovered = null;

document.addEventListener("pointermove", (event) => {
  const canvas = canvasOf(event);
  if (hovered && hovered !== canvas) unread(hovered);
  hovered = canvas;
  if (!canvas) return;
  const box = canvas.getBoundingClientRect();
  readAt(canvas, Math.floor(((event.clientX - box.left) / box.width) * 240));
});
document.addEventListener("pointerleave", () => {
  if (hovered) unread(hovered);
  hovered = null;
});

document.addEventListener("keydown", (event) => {
  const canvas = canvasOf(event);
  if (event.key === "Escape") {
    if (canvas) unread(canvas);
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    }
    return;
  }
  if (!canvas) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12, Home: -240, End: 240 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const way = steps[event.key];
  const filled = new Set();
  for (const line of canvas.querySelectorAll("g[data-v]")) {
    line.dataset.v.split(",").forEach((text, at) => { if (text !== "") filled.add(at); });
  }
  const slots = [...filled].sort((a, b) => a - b);
  if (slots.length === 0) return;
  const before = Number(canvas.dataset.at ?? slots.at(-1) + 1);
  let nth = slots.findIndex((slot) => slot >= before);
  if (nth < 0) nth = slots.length;
  const next = slots[Math.min(slots.length - 1, Math.max(0, nth + way))];
  canvas.dataset.at = String(next);
  readAt(canvas, next);
});

document.addEventListener("focusout", (event) => {
  const canvas = canvasOf(event);
  if (canvas) unread(canvas);
});

// One menu at a time, and none when the click is elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// What the drawing is called is for readers of the screen; as a tip it would lie over the values.
function untip(root) {
  for (const title of root.querySelectorAll(".canvas > title")) {
    const canvas = title.parentElement;
    const description = canvas.querySelector("desc")?.textContent ?? "";
    canvas.setAttribute("aria-label", `${title.textContent}: ${description}`);
    canvas.removeAttribute("aria-labelledby");
    title.remove();
  }
}

// Freshness

// Makes `old` like `fresh` with as few changes as there are, so that what is focused, scrolled,
// selected or opened stays so.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return undefined;
  }
  for (const { name } of [...old.attributes]) {
    const kept = (name === "open" && old.nodeName === "DETAILS") || name === "data-at";
    if (!kept && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !(name === "open" && old.nodeName === "DETAILS")) old.setAttribute(name, value);
  }
  const known = new Map();
  for (const child of old.children) if (child.id) known.set(child.id, child);
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    while (next?.nodeType === Node.ELEMENT_NODE && "own" in next.dataset) next = next.nextSibling;
    const same = child.nodeType === Node.ELEMENT_NODE && child.id ? known.get(child.id) : null;
    if (same) {
      if (same === next) next = next.nextSibling;
      else old.insertBefore(same, next);
      morph(same, child);
    } else if (next && !(next.nodeType === Node.ELEMENT_NODE && next.id)) {
      const after = next.nextSibling;
      morph(next, child);
      next = after;
    } else {
      old.insertBefore(child, next);
    }
  }
  while (next) {
    const after = next.nextSibling;
    if (!(next.nodeType === Node.ELEMENT_NODE && "own" in next.dataset)) next.remove();
    next = after;
  }
  return undefined;
}

// Somebody reads a chart, has marked text, or is filling a form in.
function busy() {
  const selection = document.getSelection();
  if (selection && !selection.isCollapsed) return true;
  if (document.querySelector(".canvas:hover, .canvas:focus, details.menu[open]")) return true;
  const main = document.getElementById("main");
  if (main.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) return true;
  return [...main.querySelectorAll("input, select, textarea")].some(changed);
}

function changed(field) {
  if (field.type === "hidden" || field.type === "datetime-local") return false;
  if (field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (field.nodeName === "SELECT") return [...field.options].some((option, at) => option.selected !== (option.defaultSelected || (at === 0 && ![...field.options].some((o) => o.defaultSelected))));
  return field.value !== field.defaultValue;
}

let heard = new Date();

async function refresh() {
  const live = document.getElementById("live");
  if (!live || document.hidden || document.querySelector("[data-still], [role=alert]")) return;
  try {
    const answer = await fetch(location.href, { redirect: "error", cache: "no-store" });
    if (answer.status === 401) {
      live.classList.add("stale");
      live.textContent = "logged out";
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const text = await answer.text();
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    if (!fresh) throw new Error("no page");
    heard = new Date();
    live.classList.remove("stale");
    if (busy()) {
      live.textContent = "paused while you work here";
      return;
    }
    localise(fresh);
    untip(fresh);
    morph(document.getElementById("main"), fresh);
    live.textContent = "live";
    live.title = `as of ${second(heard)}`;
  } catch {
    live.classList.add("stale");
    const text = `connection lost: what you see is of ${second(heard)}`;
    // Said once, not at every try.
    if (live.textContent !== text) live.textContent = text;
  }
}

localise(document);
untip(document);
const status = document.getElementById("live");
if (status && !document.querySelector("[data-still], [role=alert]")) status.textContent = "live";
setInterval(refresh, REFRESH_MS);
document.addEventListener("visibilitychange", refresh);
addEventListener("online", refresh);
