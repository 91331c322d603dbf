"use strict";

// A trained network in plain JavaScript: its weights, its vocabulary, a step, a draw, a gradient. Knows no document, so that a
// browser and node run the same code. Names and equations are torch.nn's, in the order of charrnn/network/cells.py.
// Letters: V symbols, E embedding, H units, L layers, P parts of a layer's state (h, and an LSTM's c), G blocks of rows. A network
// with vectors for pairs of symbols has one part more: in its first number stands the id of the symbol read last, plus one, or 0.

function halfToFloat(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}

// The numbers of a tensor as they are stored: float32, float16, or int8 with a scale for each row.
function numbersOf(tensor) {
  const bytes = bytesOf(tensor.data);
  if (tensor.form === "float32") return new Float32Array(bytes.buffer);
  if (tensor.form === "float16") return Float32Array.from(new Uint16Array(bytes.buffer), halfToFloat);
  const scales = new Float32Array(bytesOf(tensor.scales).buffer), rounded = new Int8Array(bytes.buffer);
  const columns = rounded.length / scales.length, values = new Float32Array(rounded.length);
  for (let row = 0, at = 0; row < scales.length; row++) {
    for (let column = 0; column < columns; column++, at++) values[at] = rounded[at] * scales[row];
  }
  return values;
}

// A matrix (M, K) for products with one vector. Eight rows lie interleaved, so that one pass over the vector serves them all.
class Matrix {
  constructor(values, M, K) {
    this.M = M;
    this.K = K;
    this.values = new Float32Array(Math.ceil(M / 8) * 8 * K);
    for (let row = 0; row < M; row++) {
      for (let k = 0, at = (row >> 3) * 8 * K + (row & 7); k < K; k++, at += 8) this.values[at] = values[row * K + k];
    }
    this.sum = new Float64Array(Math.ceil(M / 8) * 8);
  }

  // W x, in a buffer that the next product overwrites.
  times(x, from) {
    const { values, sum, K } = this, end = from + K;
    for (let row = 0, at = 0; row < sum.length; row += 8) {
      let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
      for (let k = from; k < end; k++, at += 8) {
        const v = x[k];
        a += values[at] * v;
        b += values[at + 1] * v;
        c += values[at + 2] * v;
        d += values[at + 3] * v;
        e += values[at + 4] * v;
        f += values[at + 5] * v;
        g += values[at + 6] * v;
        h += values[at + 7] * v;
      }
      sum[row] = a;
      sum[row + 1] = b;
      sum[row + 2] = c;
      sum[row + 3] = d;
      sum[row + 4] = e;
      sum[row + 5] = f;
      sum[row + 6] = g;
      sum[row + 7] = h;
    }
    return sum;
  }

  // y W, added to `sum` (K,).
  addBack(y, sum) {
    const { values, M, K } = this;
    for (let row = 0; row < M; row++) {
      const v = y[row];
      if (v === 0) continue;
      for (let k = 0, at = (row >> 3) * 8 * K + (row & 7); k < K; k++, at += 8) sum[k] += v * values[at];
    }
  }
}

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

class Network {
  constructor({ model, tensors }) {
    const { cell, gates: letters, parts, vocab_size: V, embedding_size: E, hidden_size: H, num_layers: L } = model;
    const G = letters.length || 1, tensor = (name) => numbersOf(tensors[name]);
    const pairs = tensors["pairs.weight"] ? model.pair_keys : []; // A network that reads backwards has none.
    const P = parts + (pairs.length ? 1 : 0), inputs = V + pairs.length;
    Object.assign(this, { cell, V, E, H, L, G, P, parts, letters, keeps: model.keeps, candidates: model.candidates });
    this.candidateApart = model.apart; // whether a gate multiplies what the candidate sees of h, as r does in a GRU
    this.embedding = tensor("embedding.weight");
    this.pairs = new Map(pairs.map((key, row) => [key, V + row])); // V * the first id + the second -> the input of the pair
    this.pairVectors = pairs.length ? tensor("pairs.weight") : null;
    this.vector = new Float32Array(E);
    this.layers = [];
    for (let l = 0; l < L; l++) {
      const ih = tensor(`rnn.bias_ih_l${l}`), hh = tensor(`rnn.bias_hh_l${l}`);
      // The GRU's candidate keeps its recurrent bias apart, because r multiplies it.
      const together = this.candidateApart ? (G - 1) * H : G * H;
      this.layers.push({
        input: new Matrix(tensor(`rnn.weight_ih_l${l}`), G * H, l ? H : E),
        recurrent: new Matrix(tensor(`rnn.weight_hh_l${l}`), G * H, H),
        bias: ih.map((value, row) => (row < together ? value + hh[row] : value)),
        apart: hh.subarray(together),
      });
    }
    if (tensors["head.weight"]) { // A classifier's head is none of the network's.
      this.head = new Matrix(tensor("head.weight"), V, H);
      this.headBias = tensor("head.bias");
    }
    // What each symbol, and each pair, adds in the first layer, computed when it is first read; of very many anew at each step.
    this.tabled = inputs * G * H <= Network.mostTabled ? new Uint8Array(inputs) : null;
    this.table = new Float32Array((this.tabled ? inputs : 1) * G * H);
    this.state = new Float32Array(L * this.P * H); // (L, P, H)
    this.gates = new Float32Array(L * this.letters.length * H); // Those of the last step, (L, gates, H).
    this.logits = new Float64Array(V);
    this.clamps = new Map(); // layer * H + unit -> the value at which its h is held
  }

  get size() {
    return this.state.length;
  }

  reset() {
    this.state.fill(0);
  }

  // Where the h of a layer begins in a state.
  hAt(layer) {
    return layer * this.P * this.H;
  }

  // Which row of the table a symbol reads: its own, or that of the pair with the symbol before it.
  inputOf(id) {
    const before = this.pairVectors ? this.state[(this.P - 1) * this.H] : 0;
    return before ? this.pairs.get((before - 1) * this.V + id) ?? id : id;
  }

  // Take one symbol in: `state` and `gates` change.
  read(id) {
    const { H, G, L, state, layers } = this, symbol = this.inputOf(id);
    for (let l = 0; l < L; l++) {
      const { recurrent, input, bias } = layers[l], at = this.hAt(l);
      let from, offset = 0;
      if (l === 0) {
        from = this.table;
        offset = this.tabled ? symbol * G * H : 0;
        if (!this.tabled?.[symbol]) this.fillTable(symbol, id, offset);
      } else {
        from = input.times(state, this.hAt(l - 1));
        for (let row = 0; row < G * H; row++) from[row] += bias[row];
      }
      this[this.cell](l, at, recurrent.times(state, at), from, offset);
      if (this.clamps.size) {
        for (const [place, value] of this.clamps) {
          if (Math.floor(place / H) === l) state[at + (place % H)] = value;
        }
      }
    }
    if (this.pairVectors) state[(this.P - 1) * H] = id + 1;
  }

  fillTable(symbol, id, offset) {
    const { input, bias } = this.layers[0], { E, V, vector, embedding, pairVectors } = this, rows = this.G * this.H;
    for (let e = 0; e < E; e++) vector[e] = embedding[id * E + e] + (symbol < V ? 0 : pairVectors[(symbol - V) * E + e]);
    const sum = input.times(vector, 0);
    for (let row = 0; row < rows; row++) this.table[offset + row] = sum[row] + bias[row];
    if (this.tabled) this.tabled[symbol] = 1;
  }

  lstm(l, at, z, from, offset) {
    const { H, state, gates } = this, own = l * 4 * H;
    for (let u = 0; u < H; u++) {
      const i = sigmoid(z[u] + from[offset + u]);
      const f = sigmoid(z[H + u] + from[offset + H + u]);
      const g = Math.tanh(z[2 * H + u] + from[offset + 2 * H + u]);
      const o = sigmoid(z[3 * H + u] + from[offset + 3 * H + u]);
      const c = f * state[at + H + u] + i * g;
      state[at + H + u] = c;
      state[at + u] = o * Math.tanh(c);
      gates[own + u] = i;
      gates[own + H + u] = f;
      gates[own + 2 * H + u] = g;
      gates[own + 3 * H + u] = o;
    }
  }

  gru(l, at, zs, from, offset) {
    const { H, state, gates } = this, { apart } = this.layers[l], own = l * 3 * H;
    for (let u = 0; u < H; u++) {
      const r = sigmoid(zs[u] + from[offset + u]);
      const z = sigmoid(zs[H + u] + from[offset + H + u]);
      const n = Math.tanh(from[offset + 2 * H + u] + r * (zs[2 * H + u] + apart[u]));
      state[at + u] = (1 - z) * n + z * state[at + u];
      gates[own + u] = r;
      gates[own + H + u] = z;
      gates[own + 2 * H + u] = n;
    }
  }

  rnn(l, at, z, from, offset) {
    const { H, state } = this;
    for (let u = 0; u < H; u++) state[at + u] = Math.tanh(z[u] + from[offset + u]);
  }

  // What the last layer's h says of the next symbol, in a buffer that the next call overwrites.
  predict() {
    const sum = this.head.times(this.state, this.hAt(this.L - 1)), { logits, headBias } = this;
    for (let v = 0; v < logits.length; v++) logits[v] = sum[v] + headBias[v];
    return logits;
  }

  // How much the loss at the end of a text depends on the states before, one step after the other.
  //
  // `states` holds the state before each of T symbols `ids` and after the last; `target` is the symbol that followed. Returns T + 1
  // norms: of the gradient of -ln p(target) with respect to the state k steps before the end. `path` says which way the gradient
  // may take: "all", through the "weights" alone (all that a plain RNN has), or through the "gate" alone that keeps the old.
  lookBack(states, ids, target, path) {
    const { H, L, P, G } = this, T = ids.length, norms = new Float64Array(T + 1), kept = this.state.slice();
    const held = this.clamps;
    this.clamps = new Map();
    let back = new Float64Array(L * P * H); // (L, P, H)
    this.state.set(states[T]);
    const slope = softmax(this.predict(), new Float64Array(this.V));
    slope[target] -= 1;
    this.head.addBack(slope, back.subarray(this.hAt(L - 1), this.hAt(L - 1) + H));
    if (path === "gate" && this.parts > 1) this.intoCell(back, states[T], states[T - 1], ids[T - 1]);
    norms[0] = norm(back);
    for (let k = 1; k <= T; k++) {
      this.state.set(states[T - k]);
      this.read(ids[T - k]);
      const before = new Float64Array(L * P * H), slopes = new Float64Array(G * H), recurrent = new Float64Array(G * H);
      for (let l = L - 1; l >= 0; l--) {
        this.stepBack(l, back, before, states[T - k], states[T - k + 1], slopes, recurrent, path);
        if (path === "gate") continue;
        this.layers[l].recurrent.addBack(recurrent, before.subarray(this.hAt(l), this.hAt(l) + H));
        if (l) this.layers[l].input.addBack(slopes, back.subarray(this.hAt(l - 1), this.hAt(l - 1) + H));
      }
      back = before;
      norms[k] = norm(back);
    }
    this.state.set(kept);
    this.clamps = held;
    return norms;
  }

  // From a gradient of the last h to that of the last c, for the path through the gate.
  intoCell(back, after, before, id) {
    const { H, L, letters } = this, at = this.hAt(L - 1), own = ((L - 1) * letters.length + letters.indexOf("o")) * H;
    this.state.set(before);
    this.read(id);
    for (let u = 0; u < H; u++) {
      const t = Math.tanh(after[at + H + u]);
      back[at + H + u] = back[at + u] * this.gates[own + u] * (1 - t * t);
      back[at + u] = 0;
    }
  }

  // One layer's step back. `slopes` and `recurrent` become the gradients of what enters its gates from below and from its own h.
  stepBack(l, back, before, old, now, slopes, recurrent, path) {
    const { H, G, cell, gates } = this, at = this.hAt(l), own = l * this.letters.length * H;
    const gated = path !== "weights", { apart, recurrent: W } = this.layers[l];
    const products = this.candidateApart ? W.times(old, at) : null;
    for (let u = 0; u < H; u++) {
      const dh = back[at + u];
      if (cell === "lstm") {
        const [i, f, g, o] = [gates[own + u], gates[own + H + u], gates[own + 2 * H + u], gates[own + 3 * H + u]];
        const t = Math.tanh(now[at + H + u]), dc = back[at + H + u] + dh * o * (1 - t * t);
        slopes[u] = dc * g * i * (1 - i);
        slopes[H + u] = dc * old[at + H + u] * f * (1 - f);
        slopes[2 * H + u] = dc * i * (1 - g * g);
        slopes[3 * H + u] = dh * t * o * (1 - o);
        before[at + H + u] = gated ? dc * f : 0;
      } else if (cell === "gru") {
        const [r, z, n] = [gates[own + u], gates[own + H + u], gates[own + 2 * H + u]];
        const dn = dh * (1 - z) * (1 - n * n);
        slopes[u] = dn * (products[2 * H + u] + apart[u]) * r * (1 - r);
        slopes[H + u] = dh * (old[at + u] - n) * z * (1 - z);
        slopes[2 * H + u] = dn;
        recurrent[2 * H + u] = dn * r;
        before[at + u] = gated ? dh * z : 0;
      } else {
        slopes[u] = dh * (1 - now[at + u] * now[at + u]);
      }
    }
    recurrent.set(this.candidateApart ? slopes.subarray(0, (G - 1) * H) : slopes); // What stays apart has a gradient of its own.
  }
}

Network.mostTabled = 1.6e7; // numbers, 64 MB

function norm(values) {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

// The probabilities of `logits`, written to `into`.
function softmax(logits, into) {
  let top = -Infinity, sum = 0;
  for (let v = 0; v < logits.length; v++) if (logits[v] > top) top = logits[v];
  for (let v = 0; v < logits.length; v++) sum += into[v] = Math.exp(logits[v] - top);
  for (let v = 0; v < logits.length; v++) into[v] /= sum;
  return into;
}

// Draws symbols. Temperature 0 takes the likeliest; the id `banned` is never drawn.
class Sampler {
  constructor(V, seed) {
    this.shares = new Float64Array(V);
    this.sorted = new Float64Array(V);
    this.seed(seed);
  }

  seed(seed) {
    this.number = seed >>> 0;
  }

  // The next number in [0, 1): mulberry32.
  random() {
    this.number = (this.number + 0x6d2b79f5) | 0;
    let mixed = this.number;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }

  draw(logits, temperature, topK, banned) {
    const V = logits.length, { shares, sorted } = this;
    let best = banned === 0 ? 1 : 0;
    for (let v = 0; v < V; v++) if (v !== banned && logits[v] > logits[best]) best = v;
    if (temperature === 0) return best;
    for (let v = 0; v < V; v++) shares[v] = v === banned ? -Infinity : logits[v];
    if (topK > 0 && topK < V) {
      sorted.set(shares);
      sorted.sort();
      const least = sorted[V - topK];
      let room = topK;
      for (let v = 0; v < V; v++) if (shares[v] > least) room--;
      // Among equal ones those of the lowest ids stay.
      for (let v = 0; v < V; v++) if (shares[v] < least || (shares[v] === least && room-- <= 0)) shares[v] = -Infinity;
    }
    const top = logits[best];
    let sum = 0;
    for (let v = 0; v < V; v++) sum += shares[v] = Math.exp((shares[v] - top) / temperature);
    let left = this.random() * sum;
    for (let v = 0; v < V; v++) {
      left -= shares[v];
      if (left < 0 && shares[v] > 0) return v;
    }
    return best;
  }
}

// Characters to ids and back. At level "byte" the ids are bytes of UTF-8; else the last id is the unknown character.
class Vocabulary {
  constructor({ level, characters, plain, opening }) {
    this.byte = level === "byte";
    this.symbols = this.byte ? [] : [...Array.from(characters), "\ufffd"];
    this.ids = new Map(this.symbols.slice(0, -1).map((character, id) => [character, id]));
    this.unknown = this.byte ? -1 : this.symbols.length - 1;
    this.newline = this.byte ? 10 : this.ids.get("\n") ?? -1;
    this.plain = new Map(Object.entries(plain));
    this.opening = opening;
  }

  // The ids of `text`, and which of its characters are unknown.
  encode(text) {
    if (this.byte) return { ids: Array.from(new TextEncoder().encode(text)), unknown: [] };
    const ids = [], unknown = new Set();
    const known = (form) => Array.from(form).every((one) => this.ids.has(one));
    for (const character of (known(text) ? text : text.normalize("NFC"))) {
      const forms = [character, character.normalize("NFD"), this.plain.get(character) ?? character,
        character.normalize("NFKD").replace(/\p{M}/gu, ""), character.toLowerCase(), character.toUpperCase()];
      const form = forms.find((one) => one && known(one));
      if (form === undefined) {
        ids.push(this.unknown);
        unknown.add(character);
      } else {
        for (const one of form) ids.push(this.ids.get(one));
      }
    }
    return { ids, unknown: [...unknown] };
  }

  // A function from each id to the text that it completes: at level "byte" that may be none.
  decoder() {
    if (!this.byte) return (id) => this.symbols[id];
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true }), one = new Uint8Array(1);
    return (id) => {
      one[0] = id;
      return decoder.decode(one, { stream: true });
    };
  }
}
