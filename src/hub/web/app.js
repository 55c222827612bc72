// Everything works without this file. It shows times in the reader's own zone, refreshes the page
// in place, and reads a chart out under the pointer.
"use strict";

const REFRESH_MS = 10_000;
const pad = (n) => String(n).padStart(2, "0");

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = at.toLocaleString();
    const minute = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
    if (time.classList.contains("clock")) time.textContent = `${minute}:${pad(at.getSeconds())}`;
    if (time.classList.contains("minute")) time.textContent = minute;
    if (time.classList.contains("day")) time.textContent = `${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
  }
}

function figure(x) {
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e15 || size < 1e-4) return x.toExponential(2);
  return x.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 6 : 4 });
}

function readCharts(root) {
  for (const chart of root.querySelectorAll(".chart")) {
    const svg = chart.querySelector("svg");
    const read = chart.querySelector(".read");
    const from = Number(chart.dataset.from);
    const to = Number(chart.dataset.to);
    const lines = new Map();
    for (const path of svg.querySelectorAll(".line[data-points]")) {
      const key = path.getAttribute("class");
      lines.set(key, (lines.get(key) ?? []).concat(JSON.parse(path.dataset.points)));
    }
    const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", "0");
    cursor.setAttribute("y2", "140");
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const ms = from + ((event.clientX - box.left) / box.width) * (to - from);
      let when = null;
      const values = [];
      for (const points of lines.values()) {
        let best = null;
        for (const point of points) {
          if (best === null || Math.abs(point[0] - ms) < Math.abs(best[0] - ms)) best = point;
        }
        if (best === null) continue;
        when ??= best[0];
        values.push(figure(best[1]));
      }
      if (when === null) return;
      const at = new Date(when);
      const x = String((960 * (when - from)) / (to - from));
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      svg.append(cursor);
      read.textContent = `${at.toLocaleTimeString()}  ${values.join(" · ")} ${chart.dataset.unit}`;
    });
    svg.addEventListener("pointerleave", () => {
      cursor.remove();
      read.textContent = "";
    });
  }
}

function busy() {
  const selection = document.getSelection();
  return document.hidden || (selection && !selection.isCollapsed) || document.querySelector(".chart:hover");
}

async function refresh() {
  const live = document.getElementById("live");
  if (!live || busy()) return;
  try {
    const answer = await fetch(location.href, { redirect: "error", cache: "no-store" });
    if (answer.status === 401) return location.reload();
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    const main = document.getElementById("main");
    if (!fresh || busy()) return;
    for (const open of main.querySelectorAll("details[open][id]")) {
      fresh.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
    }
    const focused = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const scrolled = [...main.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
    main.replaceChildren(...fresh.childNodes);
    main.querySelectorAll(".scroll").forEach((box, at) => { box.scrollLeft = scrolled[at] ?? 0; });
    if (focused) main.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    localTimes(main);
    readCharts(main);
    live.classList.remove("stale");
    live.textContent = "";
  } catch {
    live.classList.add("stale");
    if (!live.textContent) live.textContent = `The hub has not answered since ${new Date().toLocaleTimeString()}`;
  }
}

localTimes(document);
readCharts(document);
setInterval(refresh, REFRESH_MS);
