"use strict";

// One network on the page: the text that it reads and writes, what it expects next, its units as a grid, and the chosen unit.

const MOST_STEPS = 4000; // characters that are kept, with their states, at most
const MOST_NUMBERS = 12e6; // numbers that all of those states are, at most
const BARS = 8;
const COURSE = 240; // characters that the curve of a unit shows

// What a gate is called, what it does, and its equation, by torch.nn's letters.
const GATES = {
  lstm: {
    i: ["input gate", "how much of the candidate enters the cell", "i = \u03c3(W x + U h + b)"],
    f: ["forget gate", "how much of the cell stays", "f = \u03c3(W x + U h + b)"],
    g: ["candidate", "what would enter the cell", "g = tanh(W x + U h + b)"],
    o: ["output gate", "how much of the cell shows", "o = \u03c3(W x + U h + b)"],
  },
  gru: {
    r: ["reset gate", "how much of the old state the candidate sees", "r = \u03c3(W x + U h + b)"],
    z: ["update gate", "how much of the old state stays", "z = \u03c3(W x + U h + b)"],
    n: ["candidate", "what would replace it", "n = tanh(W x + b + r \u00b7 (U h + b\u2032))"],
  },
  rnn: {},
};

class Player {
  constructor(root, data, settings) {
    this.root = root;
    this.label = data.label;
    this.records = data.records;
    this.network = new Network(data);
    this.vocabulary = new Vocabulary(data.vocabulary);
    this.follows = new Map(data.units.map((one) => [one.layer * this.network.H + one.unit, one.follows]));
    this.settings = settings; // temperature, topK, seed; shared by all players
    this.sampler = new Sampler(this.network.V, settings.seed);
    this.capacity = Math.max(64, Math.min(MOST_STEPS, Math.floor(MOST_NUMBERS / this.network.size)));
    this.ids = new Int32Array(this.capacity);
    this.fresh = new Uint8Array(this.capacity); // whether the state was zero before the step
    this.after = new Float32Array(this.capacity * this.network.size); // the state after each step
    this.zero = new Float32Array(this.network.size);
    this.oldest = this.zero; // the state before the first character that is kept
    this.next = new Float64Array(this.network.V); // the logits after the last step
    this.shares = new Float64Array(this.network.V);
    this.length = 0;
    this.chosen = -1; // the character that is looked at; -1 follows the writing
    this.unit = this.follows.size ? this.follows.keys().next().value : 0;
    this.listeners = [];
    this.comparing = null; // what writes with the network at other values of a unit, a piece at each turn
    this.build();
    this.restart([]);
  }

  find(name) {
    return this.root.querySelector(`[data-part="${name}"]`);
  }

  // -- reading and writing ---------------------------------------------------------------------------------------------

  // Begin anew, with a prompt's ids.
  restart(prompt) {
    this.abandon();
    this.prompt = prompt;
    this.sampler.seed(this.settings.seed);
    this.length = 0;
    this.chosen = -1;
    this.decode = this.vocabulary.decoder();
    this.text.replaceChildren();
    this.spans = [];
    this.fragment = document.createDocumentFragment();
    this.begin();
  }

  // A text, or a record of a list, begins in the zero state. What is held is held from the prompt's last symbol on.
  begin() {
    this.network.reset();
    const held = this.network.clamps, opens = !this.prompt.length || this.records ? this.vocabulary.opening : [];
    const ids = [...opens, ...this.prompt];
    ids.forEach((id, at) => {
      this.network.clamps = at < ids.length - 1 ? new Map() : held;
      this.keep(id, at === 0, at < opens.length ? "opening" : "prompt");
    });
    this.network.clamps = held;
    this.next.set(this.network.predict());
  }

  // Read a symbol and remember the state after it.
  keep(id, fresh, kind) {
    if (this.length === this.capacity) this.forget();
    this.network.read(id);
    this.ids[this.length] = id;
    this.fresh[this.length] = fresh ? 1 : 0;
    this.after.set(this.network.state, this.length * this.network.size);
    this.length++;
    this.write(id, kind);
  }

  // Write a symbol; a finished record is followed by a new one.
  step() {
    this.abandon();
    const { temperature, topK } = this.settings;
    const id = this.sampler.draw(this.next, temperature, topK, this.vocabulary.unknown);
    this.keep(id, false, "written");
    if (this.records && id === this.vocabulary.newline) this.begin();
    else this.next.set(this.network.predict());
  }

  // Drop the oldest quarter.
  forget() {
    const dropped = Math.max(1, this.capacity >> 2);
    this.oldest = this.stateAfter(dropped - 1).slice();
    this.ids.copyWithin(0, dropped);
    this.fresh.copyWithin(0, dropped);
    this.after.copyWithin(0, dropped * this.network.size);
    this.flush();
    for (const span of this.spans.splice(0, dropped)) span.remove();
    this.length -= dropped;
    if (this.chosen >= 0) this.chosen = Math.max(0, this.chosen - dropped);
  }

  get last() {
    return this.length - 1;
  }

  get at() {
    return this.chosen < 0 ? this.last : this.chosen;
  }

  stateAfter(at) {
    return this.after.subarray(at * this.network.size, (at + 1) * this.network.size);
  }

  stateBefore(at) {
    if (this.fresh[at]) return this.zero;
    return at === 0 ? this.oldest : this.stateAfter(at - 1);
  }

  // Do something else with the network, and put it back as it was.
  aside(work) {
    const { state, clamps } = this.network, kept = state.slice();
    const result = work(this.network);
    state.set(kept);
    this.network.clamps = clamps;
    return result;
  }

  // The logits after a character.
  logitsAfter(at) {
    if (at === this.last) return this.next;
    return this.aside((network) => {
      network.state.set(this.stateAfter(at));
      return network.predict();
    });
  }

  // Every gate of the chosen unit at a character, and its state before and after: {i, f, g, o, h, c, before: {h, c}}.
  gatesAt(at) {
    return this.aside((network) => {
      const { H, letters } = network, layer = Math.floor(this.unit / H), unit = this.unit % H, place = network.hAt(layer) + unit;
      const before = this.stateBefore(at), after = this.stateAfter(at), found = { h: after[place], c: after[place + H] };
      network.clamps = new Map();
      network.state.set(before);
      network.read(this.ids[at]);
      letters.forEach((letter, row) => { found[letter] = network.gates[(layer * letters.length + row) * H + unit]; });
      found.free = network.state[place];
      found.before = { h: before[place], c: before[place + H] };
      return found;
    });
  }

  // The last characters up to `at`, at most `count`, as they were read in one go: their ids, and the states around them.
  window(at, count) {
    let first = at;
    while (first > 0 && at - first + 1 < count && !this.fresh[first]) first--;
    const ids = [], states = [this.stateBefore(first)];
    for (let t = first; t <= at; t++) {
      ids.push(this.ids[t]);
      states.push(this.stateAfter(t));
    }
    return { ids, states };
  }

  // h of the chosen unit after a character.
  valueAt(at) {
    const { H } = this.network;
    return this.after[at * this.network.size + this.network.hAt(Math.floor(this.unit / H)) + (this.unit % H)];
  }

  nameOf(unit) {
    return `${Math.floor(unit / this.network.H)}:${unit % this.network.H}`;
  }

  textOf(ids) {
    const decode = this.vocabulary.decoder();
    return ids.map(decode).join("");
  }

  // Leave a comparison unfinished: the network is again as it was before.
  abandon() {
    this.comparing?.return();
    this.comparing = null;
    this.find("compare").disabled = false;
  }

  // -- the parts on the page -------------------------------------------------------------------------------------------

  build() {
    this.text = this.find("text");
    this.bars = Array.from({ length: BARS }, () => {
      const row = make("li", {}, make("b", {}), make("i", {}, make("span", {})), make("output", {}));
      const [symbol, track, amount] = row.children;
      return { row, symbol, fill: track.firstChild, amount };
    });
    this.find("next").append(...this.bars.map((bar) => bar.row));
    this.grids = [];
    for (let layer = 0; layer < this.network.L; layer++) this.buildGrid(layer);
    this.buildUnit();
    this.text.addEventListener("click", (event) => {
      const span = event.target.closest("span");
      const at = this.spans.indexOf(span);
      if (at >= 0) this.look(at);
    });
    this.text.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const end = { Home: 0, End: this.last }[event.key];
      if (by === undefined && end === undefined) return;
      event.preventDefault();
      this.look(end ?? Math.max(0, Math.min(this.last, this.at + by)));
    });
  }

  buildGrid(layer) {
    const canvas = make("canvas", { tabindex: "0", role: "application" });
    const { H, L } = this.network;
    canvas.setAttribute("aria-label", `The ${H} units${L > 1 ? ` of layer ${layer}` : ""}; arrow keys move from unit to unit`);
    if (L > 1) this.find("units").append(make("b", {}, `layer ${layer}`));
    this.find("units").append(canvas);
    const grid = { canvas, layer, cell: 0, columns: 0 };
    this.grids.push(grid);
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const unit = unitAt(grid, event.clientX - box.x, event.clientY - box.y);
      if (unit < H) this.choose(layer * H + unit);
    });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid.columns, ArrowUp: -grid.columns }[event.key];
      if (!by) return;
      event.preventDefault();
      const from = Math.floor(this.unit / H) === layer ? this.unit : layer * H;
      this.choose(Math.max(layer * H, Math.min(layer * H + H - 1, from + by)));
    });
  }

  buildUnit() {
    const { network } = this, chips = this.find("chips");
    for (const [unit, follows] of this.follows) {
      const chip = make("button", { type: "button", "data-unit": unit }, `${follows} `, make("small", {}, this.nameOf(unit)));
      chip.addEventListener("click", () => this.choose(unit));
      chips.append(chip);
    }
    if (!this.follows.size) chips.remove();
    for (const [part, by] of [["before", -1], ["after", 1]]) {
      this.find(part).addEventListener("click", () => {
        const all = network.L * network.H;
        this.choose((this.unit + by + all) % all);
      });
    }
    this.hold = this.find("hold");
    this.held = this.find("held");
    this.held.addEventListener("input", () => this.clamp(Number(this.held.value)));
    this.hold.addEventListener("change", () => this.clamp(this.hold.checked ? Number(this.held.value) : null));
    this.find("free").addEventListener("click", () => {
      this.abandon();
      network.clamps.clear();
      this.changed();
    });
    const gates = Object.entries(GATES[network.cell]);
    this.gateRows = gates.map(([letter, [name, does, equation]]) => {
      const fill = make("span", {}), value = make("output", {});
      this.find("gates").append(make("li", {}, make("b", {}, name), value, make("i", {}, fill),
        make("code", {}, equation), make("small", {}, does)));
      return { letter, fill, value };
    });
  }

  // Hold the chosen unit at a value from the next character on; null lets it go.
  clamp(value) {
    this.abandon();
    if (value === null) this.network.clamps.delete(this.unit);
    else this.network.clamps.set(this.unit, value);
    this.changed();
  }

  choose(unit) {
    this.abandon();
    this.unit = unit;
    for (const [at, span] of this.spans.entries()) this.colour(span, at);
    this.changed();
  }

  look(at) {
    this.chosen = at === this.last ? -1 : at;
    this.changed();
    this.spans[this.at].scrollIntoView({ block: "nearest" });
  }

  changed() {
    this.draw();
    for (const listener of this.listeners) listener(this);
  }

  // -- drawing ---------------------------------------------------------------------------------------------------------

  write(id, kind) {
    const piece = this.decode(id), span = make("span", { class: kind });
    span.textContent = kind === "opening" ? "" : piece === "\n" ? "\u21b5\n" : shapeInText(piece);
    if (piece === "\n" && kind !== "opening") span.classList.add("end");
    this.spans.push(span);
    this.colour(span, this.length - 1);
    this.fragment.append(span);
  }

  colour(span, at) {
    const value = this.valueAt(at);
    span.style.backgroundColor = Math.abs(value) < 0.04 ? "" : shade(0.8 * Math.max(-1, Math.min(1, value)));
  }

  // New characters go to the document all at once.
  flush() {
    const low = this.text.scrollTop + this.text.clientHeight > this.text.scrollHeight - 40;
    this.text.append(this.fragment);
    if (low && this.chosen < 0) this.text.scrollTop = this.text.scrollHeight;
  }

  draw() {
    this.flush();
    this.text.querySelector(".at")?.classList.remove("at");
    if (this.chosen >= 0) this.spans[this.chosen].classList.add("at");
    this.drawBars();
    for (const grid of this.grids) this.drawGrid(grid);
    this.drawUnit();
  }

  drawBars() {
    const { temperature, topK } = this.settings, shares = this.shares, logits = this.logitsAfter(this.at);
    spread(logits, temperature, topK, this.vocabulary.unknown, shares);
    const order = likeliest(shares, BARS), followed = this.at < this.last && !this.fresh[this.at + 1] ? this.ids[this.at + 1] : -1;
    this.bars.forEach((bar, rank) => {
      const id = order[rank], some = id !== undefined && shares[id] > 0;
      bar.row.classList.toggle("none", !some);
      bar.row.classList.toggle("followed", id === followed);
      bar.symbol.textContent = some ? this.symbol(id) : "\u00a0";
      bar.fill.style.width = some ? `${100 * shares[id]}%` : "0";
      bar.amount.textContent = some ? share(shares[id]) : "";
    });
    this.find("after-what").textContent = this.tail(this.at, 12);
    this.find("drawn-how").textContent = `at temperature ${temperature}${topK ? `, top ${topK}` : ""}`;
  }

  symbol(id) {
    if (!this.vocabulary.byte) return shape(this.vocabulary.symbols[id]);
    return id > 32 && id < 127 ? String.fromCharCode(id) : id.toString(16).padStart(2, "0");
  }

  // The text up to a character, at most `count` characters of it.
  tail(at, count) {
    const { ids } = this.window(at, count);
    return Array.from(this.textOf(ids)).map((one) => (one === " " ? " " : shape(one))).join("");
  }

  drawGrid(grid) {
    const { layer } = grid, { H, clamps } = this.network, from = this.network.hAt(layer);
    paintGrid(grid, this.stateAfter(this.at).subarray(from, from + H), (unit) => clamps.has(layer * H + unit), this.unit - layer * H);
  }

  drawUnit() {
    const { network } = this, name = this.nameOf(this.unit), follows = this.follows.get(this.unit);
    this.find("name").textContent = `Unit ${name}`;
    this.find("follows").textContent = follows ? `follows: ${follows}` : "";
    const found = this.gatesAt(this.at), held = network.clamps.get(this.unit);
    this.find("value").textContent = number(found.h);
    this.find("value").style.backgroundColor = shade(0.6 * Math.max(-1, Math.min(1, found.h)));
    for (const chip of this.find("units").parentElement.querySelectorAll("button[data-unit]")) {
      chip.setAttribute("aria-pressed", String(Number(chip.dataset.unit) === this.unit));
    }
    this.hold.checked = held !== undefined;
    if (held !== undefined) this.held.value = held;
    this.find("held-at").textContent = held === undefined ? "it is free" : `at ${number(held)}`;
    const others = [...network.clamps.keys()].filter((unit) => unit !== this.unit).map((unit) => this.nameOf(unit));
    this.find("free").hidden = !others.length;
    this.find("free").textContent = `Let all go (${network.clamps.size} held)`;
    this.find("gates-unit").textContent = name;
    for (const { letter, fill, value } of this.gateRows) {
      value.textContent = number(found[letter]);
      const signed = network.candidates.includes(letter);
      fill.style.width = `${100 * Math.abs(found[letter]) * (signed ? 0.5 : 1)}%`;
      fill.style.marginLeft = signed ? `${50 + Math.min(0, 50 * found[letter])}%` : "0";
    }
    this.find("sum").replaceChildren(...sums(network.cell, found, held !== undefined && found.free !== found.h));
    this.find("character").textContent = `at \u201c${shape(this.textOf([this.ids[this.at]]))}\u201d`;
    this.drawCourse(this.find("course"));
  }

  // The chosen unit along the last characters.
  drawCourse(canvas) {
    const ratio = Math.min(3, window.devicePixelRatio || 1), width = canvas.clientWidth || 300, height = 72;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d"), first = Math.max(0, Math.min(this.at - COURSE / 2, this.length - COURSE));
    const count = Math.min(COURSE, this.length - first), step = width / COURSE;
    const y = (value) => height / 2 - Math.max(-1, Math.min(1, value)) * (height / 2 - 3);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = shades.rule;
    pen.fillRect(0, height / 2, width, 1);
    for (let k = 0; k < count; k++) {
      const value = this.valueAt(first + k);
      pen.fillStyle = shade(Math.sign(value) * (0.35 + 0.65 * Math.min(1, Math.abs(value))));
      pen.fillRect(k * step, Math.min(y(value), height / 2), Math.max(1, step), Math.max(1, Math.abs(y(value) - height / 2)));
    }
    pen.fillStyle = shades.ink;
    pen.fillRect((this.at - first) * step, 0, 1.5, height);
  }
}

// The distribution that is drawn from, written to `into`.
function spread(logits, temperature, topK, banned, into) {
  let best = -1;
  for (let v = 0; v < logits.length; v++) if (v !== banned && (best < 0 || logits[v] > logits[best])) best = v;
  if (temperature === 0) {
    into.fill(0);
    into[best] = 1;
    return;
  }
  const kept = topK > 0 ? new Set(likeliest(logits, topK + (banned >= 0 ? 1 : 0)).filter((v) => v !== banned).slice(0, topK)) : null;
  let sum = 0;
  for (let v = 0; v < logits.length; v++) {
    into[v] = v === banned || (kept && !kept.has(v)) ? 0 : Math.exp((logits[v] - logits[best]) / temperature);
    sum += into[v];
  }
  for (let v = 0; v < logits.length; v++) into[v] /= sum;
}

// How the unit's new value comes about, in numbers.
function sums(cell, found, held) {
  const lines = [];
  const line = (equation, ...terms) => lines.push(make("li", {}, make("code", {}, equation), ` = ${terms.join(" ")}`));
  const { before } = found, n = number;
  if (cell === "lstm") {
    line("c = f \u00b7 c + i \u00b7 g", `${n(found.f)} \u00b7 ${n(before.c)} + ${n(found.i)} \u00b7 ${n(found.g)} =`, n(found.c));
    line("h = o \u00b7 tanh(c)", `${n(found.o)} \u00b7 ${n(Math.tanh(found.c))} =`, n(found.free));
  } else if (cell === "gru") {
    line("h = (1 \u2212 z) \u00b7 n + z \u00b7 h", `${n(1 - found.z)} \u00b7 ${n(found.n)} + ${n(found.z)} \u00b7 ${n(before.h)} =`, n(found.free));
  } else {
    line("h = tanh(W x + U h + b)", n(found.free));
  }
  if (held) lines.push(make("li", {}, `but it is held, so h = ${n(found.h)}`));
  return lines;
}
