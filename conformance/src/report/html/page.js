"use strict";
// Nothing here is needed to read the page: filters, keys, and what is folded opens where a link or the printer goes.
const find = document.getElementById("find");
const found = document.getElementById("found");
const boxes = [...document.querySelectorAll('input[name="kind"]')];
const rows = [...document.querySelectorAll("#case-table tbody tr")];

function filter() {
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const kinds = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !kinds.has(row.dataset.kind) || !words.every((word) => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  found.textContent = `${shown} of ${rows.length} (/ finds, n next story, p previous)`;
}

function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  target.hidden = false;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  target.scrollIntoView();
}

const stories = [...document.querySelectorAll(".story")];
let current = -1;
function go(step) {
  if (!stories.length) return;
  current = (current + step + stories.length) % stories.length;
  stories[current].focus();
  stories[current].scrollIntoView();
}

document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { event.preventDefault(); find.focus(); }
  if (event.key === "n") go(1);
  if (event.key === "p") go(current < 0 ? 0 : -1);
});
document.querySelector(".filter").addEventListener("submit", (event) => event.preventDefault());
find.addEventListener("input", filter);
boxes.forEach((box) => box.addEventListener("change", filter));
window.addEventListener("hashchange", reveal);

let folded = [];
window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((details) => { details.open = true; });
});
window.addEventListener("afterprint", () => folded.forEach((details) => { details.open = false; }));

filter();
reveal();
