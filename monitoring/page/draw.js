"use strict";
// Elements and curves. Text from peers only ever becomes a text node: no markup is parsed anywhere on this page.

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Puts `made` in place of the parent's children. What has not changed stays: a selection, the focus, a reader's place.
function replace(parent, made) {
  made.forEach((node, index) => {
    const old = parent.children[index];
    if (!old) parent.append(node);
    else if (!old.isEqualNode(node)) old.replaceWith(node);
  });
  while (parent.children.length > made.length) parent.lastElementChild.remove();
}

function drawing(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// points: [[step, value or null], ...]. Fills the svg, whose box is width x height; labels: write the ends beside it.
function curve(svg, points, width, height, labels) {
  const held = points.filter((point) => point[1] !== null);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", labels ? "xMidYMid meet" : "none");
  if (held.length < 2) {
    if (labels) svg.append(drawing("text", { x: 4, y: height / 2 })), (svg.lastChild.textContent = "The curve begins with the second step.");
    return;
  }
  const values = held.map((point) => point[1]);
  const low = Math.min(...values), high = Math.max(...values), first = held[0][0], last = held.at(-1)[0];
  const left = labels ? 40 : 1, bottom = height - (labels ? 18 : 2);
  const x = (step) => left + ((step - first) / (last - first || 1)) * (width - left - 2);
  const y = (value) => 3 + ((high - value) / (high - low || 1)) * (bottom - 5);
  const line = held.map((point) => `${x(point[0]).toFixed(1)} ${y(point[1]).toFixed(1)}`).join("L");
  svg.append(drawing("path", { class: "area", d: `M${line}L${x(last)} ${bottom}L${x(first)} ${bottom}Z` }));
  svg.append(drawing("path", { class: "curve", d: `M${line}` }));
  if (!labels) return;
  for (const [place, text] of [
    [{ x: 0, y: 12 }, high.toFixed(2)], [{ x: 0, y: bottom }, low.toFixed(2)],
    [{ x: left, y: height - 3 }, `step ${first.toLocaleString("en")}`],
    [{ x: width - 2, y: height - 3, "text-anchor": "end" }, last.toLocaleString("en")],
  ]) {
    const label = drawing("text", place);
    label.textContent = text;
    svg.append(label);
  }
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${seconds < 10 && seconds % 1 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

function ago(seconds) {
  return seconds < 2 ? "just now" : `${duration(Math.round(seconds))} ago`;
}

function amount(value) {
  if (value < 1e6) return number(value, 0);
  return value < 1e9 ? `${number(value / 1e6, 1)} million` : `${number(value / 1e9, 2)} billion`;
}

function number(value, digits) {
  return value === null || value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });
}
