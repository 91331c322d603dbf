
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const S = data.text.length;
  const pre = document.getElementById("text");
  const panel = document.getElementById("character");
  const entry = document.getElementById("unit");

  const int8sOf = (text) => new Int8Array(bytesOf(text).buffer);
  const states = int8sOf(data.states);
  const rows = new Map(data.units.map((name, row) => [name, row]));

  // -- the text, a span per character ----------------------------------------------------------------------------
  const spans = data.text.map((character, at) => {
    const span = document.createElement("span");
    if (character === "\n") span.append(make("i", {}, "\u21b5"), "\n");
    else span.textContent = shapeInText(character);
    span.dataset.at = at;
    return span;
  });
  pre.replaceChildren(...spans);

  // -- colours ----------------------------------------------------------------------------------------------------
  function valuesOf(by) {
    if (by === "surprise" || by === "entropy" || by === "change") {
      const values = data[{ surprise: "bits", entropy: "entropy", change: "change" }[by]];
      const sorted = [...values].sort((a, b) => a - b);
      return { values, top: Math.max(sorted[Math.floor(0.95 * (S - 1))], 1e-9), signed: false };
    }
    if (by in data.cells) return { values: int8sOf(data.cells[by]), top: 127, signed: true };
    const row = rows.get(by);
    return row === undefined ? null : { values: states.subarray(row * S, (row + 1) * S), top: 127, signed: true };
  }
  const names = {
    surprise: "surprise: bits of each character (orange: unexpected)",
    entropy: "entropy: how undecided the network was before each character",
    change: "how far all units together moved at each character",
  };
  let current = "";
  let at = -1;
  function colour(by) {
    const found = valuesOf(by);
    if (!found) return false;
    current = by;
    legend(found);
    for (let at = 0; at < S; at++) {
      const share = Math.max(-1, Math.min(1, found.values[at] / found.top));
      const hue = found.signed ? (share > 0 ? "--up" : "--down") : "--heat";
      const strength = Math.abs(share) < 0.04 ? "0" : `calc(var(--strongest) * ${Math.abs(share).toFixed(2)})`;
      spans[at].style.backgroundColor = `rgba(var(${hue}), ${strength})`;
    }
    for (const button of document.querySelectorAll("button[data-by]"))
      button.setAttribute("aria-pressed", String(button.dataset.by === by));
    const feature = document.querySelector(`.row button[data-by="${CSS.escape(by)}"]`);
    document.getElementById("by").textContent = names[by] ||
      `unit ${by}${feature ? ", " + feature.firstChild.textContent.trim() : ""}: red above zero, blue below`;
    ring();
    // The character that shows the most of it, near the beginning, where none is chosen yet.
    if (at < 0) {
      const first = [...found.values.slice(0, 400)].map(Math.abs);
      look(first.indexOf(Math.max(...first)), false);
    } else look(at, false, true);
    return true;
  }

  // -- a scale of the colours, and the course of the chosen numbers around the chosen character ---------------------
  const number = (found, value) => found.signed ? (value / 127).toFixed(2) : value.toFixed(2);
  function legend(found) {
    document.getElementById("low").textContent = found.signed ? "\u22121" : "0";
    document.getElementById("high").textContent = found.signed ? "1" : `${found.top.toFixed(1)} and more`;
    const strong = (hue) => `rgba(var(${hue}), var(--strongest))`;
    document.querySelector("#scale i").style.background = found.signed
      ? `linear-gradient(90deg, ${strong("--down")}, transparent, ${strong("--up")})`
      : `linear-gradient(90deg, transparent, ${strong("--heat")})`;
  }
  const course = document.querySelector("#course svg"), SPAN = 160;
  const begin = () => Math.max(0, Math.min(S - SPAN, at - SPAN / 2));
  function draw() {
    const found = valuesOf(current), from = begin(), count = Math.min(SPAN, S);
    // The curve goes to the highest, which the colours, made for the most of the characters, may leave out.
    const low = found.signed ? -127 : 0;
    const high = found.signed ? 127 : Math.max(found.top, ...found.values.slice(from, from + count));
    const x = (place) => (1000 * (place - from + 0.5) / count).toFixed(1);
    const y = (value) => (114 - 108 * (Math.max(low, Math.min(high, value)) - low) / (high - low)).toFixed(1);
    const points = [];
    for (let place = from; place < from + count; place++) points.push(`${x(place)} ${y(found.values[place])}`);
    course.querySelector(".course").setAttribute("d", `M${points.join("L")}`);
    course.querySelector(".zero").setAttribute("d", `M0 ${y(0)}H1000`);
    course.querySelector(".marker").setAttribute("d", `M${x(at)} 0V120`);
    document.querySelector("#course figcaption").textContent =
      `characters ${from + 1} to ${from + count}, from ${found.signed ? "\u22121" : "0"} to ${number(found, high)}; at the mark ${number(found, found.values[at])}`;
  }
  course.addEventListener("click", (event) => {
    const box = course.getBoundingClientRect();
    look(Math.min(S - 1, begin() + Math.floor(Math.min(SPAN, S) * (event.clientX - box.left) / box.width)), true);
  });

  // -- the dots of the gates, each a unit ------------------------------------------------------------------------------
  const [left, top, width, height] = data.panel;
  const dots = [...document.querySelectorAll("svg.dots")].map((svg) => {
    const [shut, open] = data.saturation[svg.dataset.letter];
    const places = shut.map((share, row) => [left + width * share, top + height * (1 - open[row])]);
    const rings = ["ring", "ring near"].map((name) => {
      const circle = makeSvg("circle", { class: name, r: 6, visibility: "hidden" });
      svg.append(circle);
      return circle;
    });
    svg.parentNode.classList.add("traced");
    const caption = svg.parentNode.querySelector("figcaption"), title = caption.textContent;
    const surround = (circle, row) => {
      circle.setAttribute("visibility", row === undefined ? "hidden" : "visible");
      if (row !== undefined) { circle.setAttribute("cx", places[row][0]); circle.setAttribute("cy", places[row][1]); }
    };
    const near = (event) => {
      const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      let best, least = 20 ** 2;
      places.forEach(([a, b], row) => {
        const distance = (a - x) ** 2 + (b - y) ** 2;
        if (distance < least) [best, least] = [row, distance];
      });
      return best;
    };
    svg.addEventListener("pointermove", (event) => {
      const row = near(event);
      surround(rings[1], row);
      caption.textContent = row === undefined ? title
        : `unit ${data.units[row]}: below 0.1 in ${(100 * shut[row]).toFixed(0)} %, above 0.9 in ${(100 * open[row]).toFixed(0)} %`;
    });
    svg.addEventListener("pointerleave", () => { surround(rings[1], undefined); caption.textContent = title; });
    svg.addEventListener("click", (event) => {
      const row = near(event);
      if (row !== undefined) colour(data.units[row]);
    });
    return (row) => surround(rings[0], row);
  });
  function ring() {
    const row = rows.get(current.replace(/c$/, ""));
    for (const surround of dots) surround(row);
  }

  // -- every unit as a small button ---------------------------------------------------------------------------------
  const liveliest = Math.max(...data.std, 1e-9);
  for (let layer = 0; layer < data.layers; layer++) {
    const box = make("div", { class: "layer", role: "group", "aria-label": `layer ${layer}` }, make("b", {}, `layer ${layer}`));
    data.units.forEach((name, row) => {
      if (!name.startsWith(`${layer}:`)) return;
      const button = make("button", { type: "button", "data-by": name, title: name, "aria-label": `unit ${name}`, tabindex: "-1" });
      button.style.backgroundColor = `rgba(var(--down), ${(0.08 + 0.8 * data.std[row] / liveliest).toFixed(2)})`;
      box.append(button);
    });
    const first = box.querySelector("button");
    if (first) first.tabIndex = 0;
    box.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10 }[event.key];
      if (!step || event.target.tagName !== "BUTTON") return;
      event.preventDefault();
      const buttons = [...box.querySelectorAll("button")];
      const next = buttons[Math.max(0, Math.min(buttons.length - 1, buttons.indexOf(event.target) + step))];
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
      colour(next.dataset.by);
    });
    document.getElementById("units").append(box);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-by]");
    if (button) colour(button.dataset.by);
  });
  entry.addEventListener("input", () => {
    const by = /^\d+$/.test(entry.value.trim()) ? `0:${entry.value.trim()}` : entry.value.trim();
    entry.setAttribute("aria-invalid", String(by !== "" && !colour(by)));
  });

  const unpacked = new Map();
  function unitGate(name, letter) {
    const key = `${name} ${letter}`;
    if (!unpacked.has(key)) unpacked.set(key, int8sOf(data.unitGates[name][letter]));
    return unpacked.get(key);
  }

  // -- one character ------------------------------------------------------------------------------------------------
  function look(next, scroll, again) {
    if (next < 0 || next >= S || (next === at && !again)) return;
    if (at >= 0) spans[at].classList.remove("at");
    at = next;
    spans[at].classList.add("at");
    if (scroll) spans[at].scrollIntoView({ block: "nearest" });
    draw();
    const facts = make("dl", {},
      make("dt", {}, "surprise"), make("dd", {}, `${data.bits[at].toFixed(2)} bits`),
      make("dt", {}, "entropy"), make("dd", {}, `${data.entropy[at].toFixed(2)} bits`));
    const chosen = valuesOf(current);
    if (chosen && chosen.signed)
      facts.append(make("dt", {}, `unit ${current}`), make("dd", {}, (chosen.values[at] / 127).toFixed(2)));
    const five = make("tbody", {});
    data.likeliest[at].forEach((symbol, rank) => {
      const share = data.probabilities[at][rank];
      const bar = make("i", { class: "share" });
      bar.style.width = `${(100 * share).toFixed(0)}%`;
      five.append(make("tr", {}, make("td", { class: "left" }, [...data.symbols[symbol]].map(shape).join("")),
        make("td", {}, `${(100 * share).toFixed(1)} %`), make("td", { class: "left", style: "width: 50%" }, bar)));
    });
    const parts = [make("p", {}, make("strong", {}, shape(data.text[at])), ` character ${at + 1} of ${S}`), facts,
      make("p", { class: "hint" }, "the likeliest characters here"), make("table", {}, five)];
    const name = current.replace(/c$/, ""), own = data.unitGates[name];
    data.gates.forEach((gates, layer) => {
      const letters = Object.keys(gates);
      const mine = own && name.startsWith(`${layer}:`) ? own : null;
      if (!letters.length || (name.includes(":") && !name.startsWith(`${layer}:`))) return;
      const list = make("dl", { class: mine ? "gates" : "" });
      if (mine) list.append(make("b", {}, ""), make("b", {}, name), make("b", {}, "mean"));
      for (const letter of letters) {
        list.append(make("dt", {}, data.gateNames[letter] + (mine || !data.candidates.includes(letter) ? "" : ", size")));
        if (mine) list.append(make("dd", {}, (unitGate(name, letter)[at] / 127).toFixed(2)));
        list.append(make("dd", { class: "whole" }, gates[letter][at].toFixed(2)));
      }
      parts.push(make("p", { class: "hint" }, mine ? `gates of unit ${name}, and the mean size in layer ${layer}` : `gates, mean of layer ${layer}`), list);
    });
    panel.replaceChildren(...parts);
  }
  const under = (event) => {
    const span = event.target.closest("span[data-at]");
    return span ? Number(span.dataset.at) : -1;
  };
  pre.addEventListener("pointerover", (event) => look(under(event), false));
  pre.addEventListener("click", (event) => look(under(event), false));
  pre.addEventListener("keydown", (event) => {
    const line = () => {
      // The character above or below on the screen.
      const box = spans[Math.max(at, 0)].getBoundingClientRect(), down = event.key === "ArrowDown";
      for (let k = at + (down ? 1 : -1); k >= 0 && k < S; k += down ? 1 : -1) {
        const other = spans[k].getBoundingClientRect();
        if (down ? other.top > box.top + 4 && other.left >= box.left - 2 : other.top < box.top - 4 && other.left <= box.left + 2) return k;
      }
      return at;
    };
    const next = { ArrowRight: () => at + 1, ArrowLeft: () => at - 1, ArrowDown: line, ArrowUp: line, Home: () => 0, End: () => S - 1 }[event.key];
    if (!next) return;
    event.preventDefault();
    look(next(), true);
  });

  const feature = document.querySelector(".row button[data-by*=':']");
  colour(feature ? feature.dataset.by : "surprise");
})();
