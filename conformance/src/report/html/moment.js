"use strict";
// The slider: states of links and nodes, and a path, at the moment chosen. Without this script the drawing shows the
// network as it converged.
(() => {
  const source = document.getElementById("course");
  const drawing = document.querySelector("#topology .drawing");
  if (!source || !drawing) return;
  const course = JSON.parse(source.textContent);
  const at = (id) => document.getElementById(id);
  const [slider, clock, state, around, from, to, lanes, cursor] =
    ["slider", "clock", "state", "around", "from", "to", "lanes", "cursor"].map(at);
  const name = (number) => course.nodes[number][0];
  const number = new Map(course.nodes.map(([node], index) => [node, index]));
  const isRouter = (index) => ["sg", "sr"].includes(course.nodes[index][1]);
  const lines = new Map(), boxes = new Map();
  // The drawing names the ends of a link in its title, and a node in bold over its box.
  drawing.querySelectorAll("line > title").forEach((title) => {
    const ends = title.textContent.split(" – "), line = title.parentElement;
    line.dataset.link = ends.join(" ");
    lines.set(key(...ends.map((node) => number.get(node))), line);
  });
  drawing.querySelectorAll('text[font-weight="bold"]').forEach((text) => {
    const box = text.previousElementSibling;
    if (!number.has(text.textContent) || !box || box.tagName !== "rect") return;
    box.dataset.node = text.textContent;
    boxes.set(number.get(text.textContent), box);
  });
  // What it shows of paths, in the legend too, and the title that speaks of them: not of the moment.
  drawing.querySelectorAll('polygon, text[font-size="17"]').forEach((one) => one.classList.add("drawn-path"));
  drawing.querySelectorAll("line:not([data-link])").forEach((line) => {
    line.classList.add("drawn-path");
    if (line.nextElementSibling && line.nextElementSibling.tagName === "text") line.nextElementSibling.classList.add("drawn-path");
  });
  const moments = [...new Set([...course.links, ...course.states, ...Object.values(course.routes).flat()]
    .map((mark) => mark[0]))].sort((a, b) => a - b);
  const LINK = ["full", "partial", "broken"], NODE = ["running", "paused", "gone"];

  function key(a, b) { return a < b ? `${a} ${b}` : `${b} ${a}`; }

  // The last of each that happened by then.
  function last(marks, when, id) {
    const found = new Map();
    for (const mark of marks) {
      if (mark[0] > when) break;
      found.set(id(mark), mark[mark.length - 1]);
    }
    return found;
  }

  function neighbour(node) {
    for (const pair of lines.keys()) {
      const [a, b] = pair.split(" ").map(Number);
      const far = a === node ? b : b === node ? a : undefined;
      if (far !== undefined && isRouter(far)) return far;
    }
    return undefined;
  }

  // Links of all ways that tables lead, and how it ends.
  function path(when) {
    const hops = last(course.routes[to.value] || [], when, (mark) => mark[1]);
    const start = Number(from.value), links = new Set(), seen = new Set(), ends = new Set();
    const queue = [];
    if (isRouter(start)) queue.push([start, name(start)]);
    else {
      const first = neighbour(start);
      if (first === undefined) return { links, text: "" };
      links.add(key(start, first));
      queue.push([first, `${name(start)} → ${name(first)}`]);
    }
    while (queue.length) {
      const [node, way] = queue.shift();
      if (seen.has(node)) continue;
      seen.add(node);
      const next = hops.get(node);
      if (!next) { ends.add(`${way} (no way on)`); continue; }
      if (!next.length) ends.add(way);
      for (const hop of next) {
        links.add(key(node, hop));
        const on = `${way} → ${name(hop)}`;
        if (!isRouter(hop)) ends.add(on);
        else if (seen.has(hop) && way.split(" → ").includes(name(hop))) ends.add(`${on} (a loop)`);
        else queue.push([hop, on]);
      }
    }
    return { links, text: [...ends].join("; or ") };
  }

  let now = course.end;
  function show(when) {
    when = now = Math.max(0, Math.min(course.end, Math.round(when)));
    slider.value = when;
    clock.textContent = `${(when / 1e6).toFixed(3)} s`;
    slider.setAttribute("aria-valuetext", clock.textContent);
    const links = last(course.links, when, (mark) => key(mark[1], mark[2]));
    const states = last(course.states, when, (mark) => mark[1]);
    const way = path(when);
    drawing.classList.add("at-moment");
    for (const [pair, line] of lines) {
      line.dataset.state = LINK[links.get(pair) || 0];
      line.classList.toggle("on-path", way.links.has(pair));
    }
    for (const [node, box] of boxes) box.dataset.state = NODE[states.get(node) || 0];
    const told = [];
    for (const [pair, is] of links) {
      if (is) told.push(`${pair.split(" ").map((node) => name(Number(node))).join(" – ")} ${is === 2 ? "broken" : "without adjacency"}`);
    }
    for (const [node, is] of states) if (is) told.push(`${name(node)} ${NODE[is]}`);
    const links_text = told.length > 5 ? `${told.slice(0, 4).join(", ")} and ${told.length - 4} more` : told.join(", ");
    state.textContent = `${links_text || "All links and nodes are in order"}. ${to.value}: ${way.text || "no way"}.`;
    cursor.hidden = false;
    cursor.style.left = `${(when / Math.max(1, course.end)) * 100}%`;
    list(when);
  }

  // The marks just before the moment and the next ones.
  function list(when) {
    let low = 0, high = course.marks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (course.marks[middle][0] <= when) low = middle + 1; else high = middle;
    }
    around.replaceChildren(...course.marks.slice(Math.max(0, low - 5), low + 3).map((mark) => {
      const item = document.createElement("li");
      item.textContent = `${(mark[0] / 1e6).toFixed(3)} s ${mark[2]}`;
      item.className = mark[0] <= when ? "past" : "quiet";
      return item;
    }));
  }

  function step(forward) {
    const next = forward ? moments.find((moment) => moment > now) : moments.findLast((moment) => moment < now);
    if (next !== undefined) show(next);
  }

  course.nodes.forEach(([node, kind], index) => {
    if (kind === "pod" || kind === "sg" || kind === "sr") from.add(new Option(node, index));
  });
  Object.keys(course.routes).forEach((route) => to.add(new Option(route)));
  const pod = course.nodes.findIndex(([, kind]) => kind === "pod");
  if (pod >= 0) from.value = pod;
  if (to.options.length) to.selectedIndex = to.options.length - 1;
  slider.step = Math.max(1, Math.floor(course.end / 1000));
  at("moment").hidden = false;
  slider.addEventListener("input", () => show(Number(slider.value)));
  from.addEventListener("change", () => show(Number(slider.value)));
  to.addEventListener("change", () => show(Number(slider.value)));
  at("before").addEventListener("click", () => step(false));
  at("next").addEventListener("click", () => step(true));
  at("converged").addEventListener("click", () => {
    drawing.classList.remove("at-moment");
    drawing.querySelectorAll("[data-state]").forEach((one) => { delete one.dataset.state; one.classList.remove("on-path"); });
    cursor.hidden = true;
    state.textContent = "";
    around.replaceChildren();
  });
  if (lanes) {
    lanes.addEventListener("click", (event) => {
      const box = lanes.getBoundingClientRect();
      show(((event.clientX - box.left) / box.width) * course.end);
    });
  }
  document.querySelectorAll("button.at").forEach((button) => button.addEventListener("click", (event) => {
    event.preventDefault();
    show(Number(button.dataset.at));
    at("topology").scrollIntoView();
  }));
  document.addEventListener("keydown", (event) => {
    if (["INPUT", "SELECT"].includes(event.target.tagName) && event.target !== slider) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === ",") step(false);
    if (event.key === ".") step(true);
  });
})();
