"use strict";
// Keeps a page up to date, and reads values from its chart. Without it the page still shows everything.

const EVERY_MS = 10000;
let tag = null;

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, tag ? { headers: { "If-None-Match": tag } } : {});
    if (answer.status === 304 || answer.ok) document.body.classList.remove("lost");
    if (answer.status === 304 || !answer.ok) return;
    tag = answer.headers.get("ETag");
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const open = [...document.querySelectorAll("details[id][open]")].map((one) => one.id);
    const focus = document.activeElement && document.activeElement.id;
    for (const part of fresh.querySelectorAll("main > [id]")) {
      const old = document.getElementById(part.id);
      if (!old || old.outerHTML === part.outerHTML) continue;
      if (old.contains(document.getSelection().anchorNode) && !document.getSelection().isCollapsed) continue;
      old.replaceWith(part);
    }
    document.title = fresh.title;
    for (const id of open) { const one = document.getElementById(id); if (one) one.open = true; }
    if (focus) { const one = document.getElementById(focus); if (one) one.focus({ preventScroll: true }); }
    charts();
  } catch (error) {
    document.body.classList.add("lost");
  }
}

// --- values from the chart: by pointer, or with the arrow keys

function charts() {
  for (const figure of document.querySelectorAll("figure[data-points]")) {
    if (figure.dataset.ready) continue;
    figure.dataset.ready = "yes";
    const points = JSON.parse(figure.dataset.points);
    const words = figure.querySelector("output");
    let at = points.length - 1;
    const tell = (place) => {
      at = Math.max(0, Math.min(points.length - 1, place));
      words.textContent = points[at][1];
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
        tell(best);
      });
    }
    figure.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -points.length, End: points.length }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      tell(at + step);
    });
  }
}

charts();
setInterval(look, EVERY_MS);
const soon = setInterval(() => document.querySelector("[data-soon]") ? look() : clearInterval(soon), 1000);
document.addEventListener("visibilitychange", look);
