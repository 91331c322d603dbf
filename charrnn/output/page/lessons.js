"use strict";

// What the page explains, with the numbers of the networks that run on it: each lesson looks at the character and the unit that
// the players look at.

const SHOWN = 12; // numbers of a hidden state that are written out
const FACTORS = 10; // factors of a product that are written out
const LOOK_BACK = 60; // characters
const FAR = 40; // characters back that are told of
const LOWEST = 1e-5; // of a curve
const COMPARED = 1500; // characters that are written for each value of a held unit

// Curves over characters back, on a logarithmic axis: each {values, series} with values[0] = 1.
function curvesOf(curves, name) {
  const [left, top, width, height] = [66, 10, 396, 150], decades = -Math.log10(LOWEST);
  const x = (k) => left + (width * k) / LOOK_BACK, y = (value) => top + (height * -Math.log10(value)) / decades;
  const svg = makeSvg("svg", { viewBox: "0 0 480 204", role: "img", "aria-label": name });
  for (let decade = 0; decade <= decades; decade++) {
    const text = makeSvg("text", { x: left - 8, y: y(10 ** -decade) + 4, "text-anchor": "end" });
    text.textContent = `${Number((100 * 10 ** -decade).toPrecision(1))} %`;
    svg.append(makeSvg("line", { x1: left, x2: left + width, y1: y(10 ** -decade), y2: y(10 ** -decade), class: "rule" }), text);
  }
  for (let k = 0; k <= LOOK_BACK; k += 10) {
    const text = makeSvg("text", { x: x(k), y: top + height + 18, "text-anchor": "middle" });
    text.textContent = k;
    svg.append(text);
  }
  const title = makeSvg("text", { x: left + width / 2, y: top + height + 36, "text-anchor": "middle" });
  title.textContent = "characters back";
  svg.append(title);
  for (const { values, series } of curves) {
    let path = "";
    for (let k = 0; k < values.length; k++) {
      if (!(values[k] > LOWEST)) break;
      path += `${path ? "L" : "M"}${x(k).toFixed(1)} ${Math.max(top - 6, y(values[k])).toFixed(1)}`;
    }
    svg.append(makeSvg("path", { d: path, class: `curve s${series}` }));
  }
  return svg;
}

// "0.71 · 0.64 · ... = 0.002": the factors by which a curve falls, from the end of the text back.
function product(norms) {
  const factors = [];
  for (let k = 1; k < norms.length && k <= FACTORS; k++) factors.push(norms[k - 1] > 0 ? norms[k] / norms[k - 1] : 0);
  const left = factors.reduce((whole, factor) => whole * factor, 1);
  return { factors, left, text: `${factors.map((factor) => number(factor)).join(" \u00b7 ")} = ${small(left)}` };
}

// A number as people write it, however small.
function small(value) {
  if (value === 0 || value >= 0.01) return value ? number(value) : "0";
  if (value >= 0.0001) return Number(value.toPrecision(1)).toString();
  const [digit, power] = value.toExponential(0).split("e-");
  return `${digit}\u00b710\u207b${[...power].map((one) => "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[one]).join("")}`;
}
const percent = (value) => (value >= 0.01 ? `${(100 * value).toFixed(value >= 0.1 ? 0 : 1)} %` : `${small(100 * value)} %`);

class Lessons {
  constructor(players) {
    this.players = players;
    this.waiting = 0;
    this.cost = 0; // milliseconds that the last drawing took
    this.places = new Map(players.map((player, at) => [player, document.querySelectorAll(`[data-of="${at}"]`)]));
    this.known = document.getElementById("known");
    this.known.addEventListener("input", () => this.drawKnown());
  }

  part(player, name) {
    return [...this.places.get(player)].find((place) => place.dataset.part === name);
  }

  // Draw all lessons soon; while text streams in, after a pause of which they are a small part.
  soon(pause = 0) {
    if (this.waiting) return;
    this.waiting = setTimeout(() => {
      const began = performance.now();
      this.waiting = 0;
      this.drawAll();
      this.cost = performance.now() - began;
    }, pause && Math.max(pause, 15 * this.cost));
  }

  drawAll() {
    for (const player of this.players) {
      this.drawState(player);
      this.drawLoop(player);
      this.drawProducts(player);
    }
    this.drawKnown();
  }

  // What a hidden state is.
  drawState(player) {
    const { network } = player, at = network.hAt(network.L - 1), state = player.stateAfter(player.at).subarray(at, at + network.H);
    const shown = Array.from(state.subarray(0, SHOWN), (value) => {
      const one = make("span", {}, number(value));
      one.style.backgroundColor = shade(0.6 * value);
      return one;
    });
    const rest = network.H > SHOWN ? ` \u2026 and ${network.H - SHOWN} more` : "";
    this.part(player, "state").replaceChildren("h = (", ...shown.flatMap((one, at) => (at ? [" ", one] : [one])), rest, ")");
    this.part(player, "state-after").textContent = player.tail(player.at, 24);
  }

  // The loop.
  drawLoop(player) {
    const logits = player.logitsAfter(player.at), best = likeliest(spreadOf(player, logits), 3);
    const shares = spreadOf(player, logits), last = player.at === player.last;
    this.part(player, "loop-read").textContent = shape(player.textOf([player.ids[player.at]]));
    this.part(player, "loop-odds").textContent = best.map((id) => odds(player.symbol(id), shares[id])).join(", ");
    this.part(player, "loop-next").textContent = last ? "one" : shape(player.textOf([player.ids[player.at + 1]]));
  }

  // Why a plain network forgets, and what the gates change.
  drawProducts(player) {
    const { ids, states } = player.window(player.at, LOOK_BACK), gated = player.network.keeps !== null;
    if (!ids.length) return;
    const follows = player.at < player.last && !player.fresh[player.at + 1];
    const target = follows ? player.ids[player.at + 1] : likeliest(player.logitsAfter(player.at), 1)[0];
    const paths = Object.fromEntries((gated ? ["weights", "gate", "all"] : ["weights"]).map((path) => {
      const norms = player.network.lookBack(states, ids, target, path);
      return [path, norms];
    }));
    const relative = (norms) => Array.from(norms, (one) => (norms[0] > 0 ? one / norms[0] : 0));
    const { left, factors, text } = product(paths.weights), mine = this.players.indexOf(player);
    this.part(player, "weights").textContent = text;
    this.part(player, "weights-left").textContent = percent(left);
    this.part(player, "weights-back").textContent = factors.length;
    const back = Math.min(FAR, ids.length), further = `, after ${back} it is ${percent(relative(paths.weights)[back])}`;
    this.part(player, "weights-further").textContent = back > factors.length ? further : "";
    this.part(player, "weights-curve").replaceChildren(curvesOf([{ values: relative(paths.weights), series: mine }],
      `what is left through the weights, ${player.label}`));
    if (!gated) return;
    const gate = this.unitFactors(player);
    this.part(player, "gate-unit").textContent = player.nameOf(player.unit);
    this.part(player, "gate").textContent = `${gate.map((factor) => number(factor)).join(" \u00b7 ")} = ${small(gate.reduce((a, b) => a * b, 1))}`;
    this.part(player, "all-back").textContent = back;
    this.part(player, "all-left").textContent = percent(relative(paths.all)[back]);
    this.part(player, "alone-left").textContent = percent(relative(paths.weights)[back]);
    this.part(player, "gate-curve").replaceChildren(curvesOf([
      { values: relative(paths.weights), series: "w" }, { values: relative(paths.gate), series: "g" }, { values: relative(paths.all), series: "a" },
    ], `what is left through the weights, through the gate, and in all, ${player.label}`));
  }

  // The gate of the chosen unit that keeps the old, f of an LSTM or z of a GRU, at the last characters.
  unitFactors(player) {
    const letter = player.network.keeps, factors = [];
    for (let at = player.at; at >= 0 && factors.length < FACTORS; at--) {
      factors.push(player.gatesAt(at)[letter]);
      if (player.fresh[at]) break;
    }
    return factors;
  }

  // What a network expects that knows the last characters only.
  drawKnown() {
    const known = Number(this.known.value);
    document.getElementById("known-count").textContent = known === 1 ? "1 character" : `${known} characters`;
    for (const player of this.players) {
      const { ids } = player.window(player.at, known), whole = Array.from(spreadOf(player, player.logitsAfter(player.at)));
      const cut = player.aside((network) => {
        network.clamps = new Map();
        network.reset();
        for (const id of ids) network.read(id);
        return Array.from(spreadOf(player, network.predict()));
      });
      const says = (shares) => likeliest(shares, 4).map((id) => odds(player.symbol(id), shares[id])).join(", ");
      const overlap = whole.reduce((sum, one, id) => sum + Math.min(one, cut[id]), 0);
      this.part(player, "known-text").textContent = player.tail(player.at, known);
      this.part(player, "known-cut").textContent = says(cut);
      this.part(player, "known-whole").textContent = says(whole);
      this.part(player, "known-same").textContent = share(overlap);
    }
  }
}

// The network's own distribution, at temperature 1.
function spreadOf(player, logits) {
  spread(logits, 1, 0, player.vocabulary.unknown, player.shares);
  return player.shares;
}

// Write with the chosen unit held at -1, 0 and 1 and left free, a piece at each turn, so that the page stays alive.
function* compare(player) {
  const { network, vocabulary, settings, unit } = player;
  const kept = { state: network.state.slice(), clamps: network.clamps }, sampler = new Sampler(network.V, settings.seed);
  try {
    for (const value of [null, -1, 0, 1]) {
      const decode = vocabulary.decoder();
      let text = "", ends = 0, written = 0;
      network.clamps = new Map(kept.clamps);
      network.clamps.delete(unit);
      if (value !== null) network.clamps.set(unit, value);
      sampler.seed(settings.seed);
      const begin = () => {
        network.reset();
        for (const id of vocabulary.opening) network.read(id);
      };
      begin();
      while (written < COMPARED) {
        const id = sampler.draw(network.predict(), settings.temperature || 0.8, settings.topK, vocabulary.unknown);
        network.read(id);
        text += decode(id);
        written++;
        if (id === vocabulary.newline) {
          ends++;
          if (player.records) begin();
        }
        if (written % 20 === 0) yield null;
      }
      yield { value, text, perLine: written / Math.max(1, ends), ends };
    }
  } finally {
    network.state.set(kept.state);
    network.clamps = kept.clamps;
  }
}
