"use strict";
// Keeps a page up to date, says so where it cannot, and reads values from its chart. Without it all is shown, once.

const EVERY_MS = 10000;
const PATIENCE_MS = 8000;
const OLD_MS = 25000;
let tag = null;
let looking = false;
let heard = Date.now();
const drawn = new WeakMap(); // each part as it came, before anybody opened, read or marked anything in it

async function look() {
  if (document.hidden || looking) return;
  looking = true;
  try {
    const headers = tag ? { "If-None-Match": tag } : {};
    const answer = await fetch(location.href, { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      tag = show(fresh) ? answer.headers.get("ETag") : null; // what was held back comes with the next look
    }
    if (answer.ok || answer.status === 304) { heard = Date.now(); lost(""); } else lost(`the server answers ${answer.status}`);
  } catch (error) {
    lost("the server does not answer");
  } finally {
    looking = false;
  }
}

function lost(why) {
  const since = new Date(heard).toLocaleTimeString();
  const words = why && `This page is as it was at ${since}: ${why}.`;
  const place = document.getElementById("lost");
  if (place.textContent !== words) place.textContent = words;
  document.body.classList.toggle("lost", why !== "");
}

// --- the parts of a page: what is new comes, what is gone goes, what is equal stays as it is

// Whether nothing was held back.
function show(fresh) {
  const main = document.querySelector("main");
  const open = [...main.querySelectorAll("details[id][open]")].map((one) => one.id);
  const focus = whereabouts(document.activeElement);
  let place = main.firstElementChild;
  let whole = true;
  for (const part of [...fresh.querySelector("main").children]) {
    const old = part.id && [...main.children].find((one) => one.id === part.id);
    const equal = old && drawn.get(old) === part.outerHTML;
    const keeps = equal || (old && selected(old));
    whole = whole && (equal || !keeps);
    const next = keeps ? old : part;
    if (!keeps) drawn.set(part, part.outerHTML);
    if (old === place) place = place.nextElementSibling;
    if (next !== old || next.nextElementSibling !== place) main.insertBefore(next, place);
    if (old && !keeps) old.remove();
  }
  while (place) { const gone = place; place = place.nextElementSibling; gone.remove(); }
  document.title = fresh.title;
  for (const id of open) { const one = document.getElementById(id); if (one) one.open = true; }
  charts();
  if (focus && document.activeElement === document.body) {
    const one = document.querySelector(focus);
    if (one) one.focus({ preventScroll: true });
  }
  tell();
  return whole;
}

// What somebody is marking stays, but for the state: that must never be old.
function selected(part) {
  const marked = document.getSelection();
  return part.id !== "state" && part.id !== "top" && !marked.isCollapsed && part.contains(marked.anchorNode);
}

function whereabouts(one) {
  if (!one || one === document.body) return null;
  if (one.id) return `#${CSS.escape(one.id)}`;
  const within = one.closest("[id]");
  const link = one.getAttribute("href");
  if (!within) return null;
  return `#${CSS.escape(within.id)} ${one.localName}${link ? `[href="${CSS.escape(link)}"]` : ""}`;
}

// Who hears the page is told of another state, and not of each second.
function tell() {
  const state = document.querySelector("main [data-said]");
  const news = document.getElementById("news");
  if (state && news.dataset.said !== undefined && news.dataset.said !== state.dataset.said) {
    news.textContent = state.dataset.said;
  }
  if (state) news.dataset.said = state.dataset.said;
}

// --- values from the chart: by pointer, or with the arrow keys

let reading = null; // the moment that is being read, kept while the chart is drawn anew

function charts() {
  for (const figure of document.querySelectorAll("figure[data-points]")) {
    if (figure.dataset.ready) continue;
    figure.dataset.ready = "yes";
    const points = JSON.parse(figure.dataset.points);
    const words = figure.querySelector("output");
    let at = points.length - 1;
    const read = (place) => {
      at = Math.max(0, Math.min(points.length - 1, place));
      words.textContent = points[at][1];
      reading = at === points.length - 1 ? null : points[at][1].slice(0, 16);
      for (const svg of figure.querySelectorAll("svg")) {
        let line = svg.querySelector(".cross");
        if (!line) {
          line = document.createElementNS("http://www.w3.org/2000/svg", "path");
          line.setAttribute("class", "cross");
          svg.append(line);
        }
        const [left, right, top, bottom] = svg.dataset.field.split(" ").map(Number);
        line.setAttribute("d", `M${left + (right - left) * points[at][0]} ${top}V${bottom}`);
      }
    };
    for (const svg of figure.querySelectorAll("svg")) {
      svg.addEventListener("pointermove", (event) => {
        const [left, right] = svg.dataset.field.split(" ").map(Number);
        const box = svg.getBoundingClientRect();
        const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
        const share = (x - left) / (right - left);
        let best = 0;
        points.forEach((one, place) => { if (Math.abs(one[0] - share) < Math.abs(points[best][0] - share)) best = place; });
        read(best);
      });
    }
    figure.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -points.length, End: points.length }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      words.setAttribute("aria-live", "polite");
      read(at + step);
    });
    const before = reading && points.findIndex((one) => one[1].slice(0, 16) >= reading);
    if (before !== null && before >= 0) read(before);
  }
}

for (const part of document.querySelector("main").children) drawn.set(part, part.outerHTML);
charts();
tell();
setInterval(look, EVERY_MS);
setInterval(() => {
  if (document.querySelector("[data-soon]")) look();
  if (!document.hidden && Date.now() - heard > OLD_MS && !document.body.classList.contains("lost")) lost("nothing came since");
}, 1000);
document.addEventListener("visibilitychange", look);
