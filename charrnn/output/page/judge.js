"use strict";

// A classifier in plain JavaScript: what it would say of a text if it ended behind each of its characters. Knows no document;
// what it computes is that of charrnn/analysis/judge.py. Letters: H units, F numbers that the head sees, C labels.

const PIECE = 16; // steps of a network between two turns of the page
const BLANK = /[\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/; // Python's; \s has U+FEFF too, and five fewer

class Judge {
  constructor({ model, tensors, classifier, vocabulary }) {
    const { feature, bidirectional, head_size: between, temperature, longest, labels } = classifier;
    const H = model.hidden_size, C = labels.length;
    Object.assign(this, { labels, temperature, longest, features: feature.split("+"), H, between });
    this.vocabulary = new Vocabulary(vocabulary);
    this.mark = this.vocabulary.opening[0];
    this.sides = ["", ...(bidirectional ? ["_reverse"] : [])].map((suffix) => new Network({ model, tensors: readingOf(tensors, suffix) }));
    this.F = this.features.length * this.sides.length * H;
    const layer = (name, M, K) => ({ matrix: new Matrix(numbersOf(tensors[`${name}.weight`]), M, K), bias: numbersOf(tensors[`${name}.bias`]) });
    this.head = between === null ? [layer("head", C, this.F)] : [layer("head.0", between, this.F), layer("head.2", C, between)];
    this.weights = between === null ? numbersOf(tensors["head.weight"]) : null; // (C, F)
    this.ids = [];
    this.after = []; // what is known after the first mark, and after each symbol of the text
    this.forget();
  }

  // Nothing is read but the first mark.
  forget() {
    this.ids = [];
    this.sides[0].reset();
    this.sides[0].read(this.mark);
    this.after = [this.heard(new Pool(this.H))];
  }

  // The characters of a text as they are read, each with the number of symbols up to its end; what is unknown, and what was cut.
  symbolsOf(text) {
    const { ids, unknown } = this.vocabulary.encode(strip(text)), decode = this.vocabulary.decoder();
    const kept = ids.slice(0, this.longest), characters = [];
    kept.forEach((id, at) => {
      const piece = decode(id);
      if (piece) characters.push({ text: piece, end: at + 1 });
    });
    return { ids: kept, characters, unknown, cut: ids.length - kept.length };
  }

  // Read a text and decide behind each character, a piece at each turn; how it began as the one before is known already.
  *read({ ids, characters }) {
    let same = 0;
    while (same < ids.length && ids[same] === this.ids[same]) same++;
    this.ids.length = same;
    this.after.length = same + 1;
    const ends = new Set([0, ...characters.map(({ end }) => end)]);
    for (let t = 0; t <= ids.length; t++) {
      if (t > same) {
        const [network] = this.sides, before = this.after[t - 1];
        network.state.set(before.state);
        network.read(ids[t - 1]);
        this.after.push(this.heard(before.pool.copy()));
        this.ids.push(ids[t - 1]);
      }
      if (ends.has(t) && !this.after[t].said) yield* this.decide(t);
      if (t % PIECE === 0) yield;
    }
  }

  // The state of the network that reads forwards, and what was pooled of it.
  heard(pool) {
    const [network] = this.sides;
    pool.add(network.state, network.hAt(network.L - 1));
    return { state: network.state.slice(), pool, said: null };
  }

  // What it says if the text ends after its first `t` symbols. A network that reads backwards reads all of them anew.
  *decide(t) {
    const [forwards, backwards] = this.sides, { H, mark } = this, at = forwards.hAt(forwards.L - 1);
    forwards.state.set(this.after[t].state);
    forwards.read(mark);
    const pools = [this.after[t].pool.copy()];
    pools[0].add(forwards.state, at);
    if (backwards) {
      const pool = new Pool(H);
      backwards.reset();
      for (let place = t + 1; place >= 0; place--) {
        backwards.read(place === 0 || place === t + 1 ? mark : this.ids[place - 1]);
        pool.add(backwards.state, at);
        if (place % PIECE === 0 && place) {
          const kept = backwards.state.slice();
          yield;
          backwards.state.set(kept);
        }
      }
      pools.push(pool);
    }
    const seen = new Float32Array(this.F);
    this.features.forEach((name, row) => pools.forEach((pool, side) => {
      const from = (row * pools.length + side) * H;
      for (let u = 0; u < H; u++) seen[from + u] = pool.value(name, u);
    }));
    const scores = this.scores(seen).map((score) => score / this.temperature);
    this.after[t].said = { seen, scores, shares: softmax(scores, new Float64Array(scores.length)), h: pools.map((pool) => pool.last.slice()) };
  }

  // The head: numbers (F,) to scores (C,), before the temperature.
  scores(seen) {
    let x = seen;
    this.head.forEach(({ matrix, bias }, layer) => {
      const sum = matrix.times(x, 0);
      x = bias.map((value, row) => (layer < this.head.length - 1 ? Math.tanh(value + sum[row]) : value + sum[row]));
    });
    return x;
  }

  // What each number that a linear head sees adds to a label's score, beyond what it adds to that of the mean label: (F,).
  contributions(seen, label) {
    const { F, weights, labels } = this;
    return seen.map((value, f) => {
      let mean = 0;
      for (let c = 0; c < labels.length; c++) mean += weights[c * F + f] / labels.length;
      return (value * (weights[label * F + f] - mean)) / this.temperature;
    });
  }
}

// A text without the white space at its ends, as Python's strip() leaves it.
function strip(text) {
  let from = 0, to = text.length;
  while (from < to && BLANK.test(text[from])) from++;
  while (to > from && BLANK.test(text[to - 1])) to--;
  return text.slice(from, to);
}

// The last h, the mean and the highest of those that were added.
class Pool {
  constructor(H) {
    this.count = 0;
    this.last = new Float32Array(H);
    this.sum = new Float64Array(H);
    this.highest = new Float32Array(H).fill(-2);
  }

  copy() {
    const copied = new Pool(0);
    return Object.assign(copied, { count: this.count, last: this.last.slice(), sum: this.sum.slice(), highest: this.highest.slice() });
  }

  add(state, at) {
    this.count++;
    for (let u = 0; u < this.last.length; u++) {
      const h = state[at + u];
      this.last[u] = h;
      this.sum[u] += h;
      if (h > this.highest[u]) this.highest[u] = h;
    }
  }

  value(feature, u) {
    return { last: this.last[u], mean: this.sum[u] / this.count, max: this.highest[u] }[feature];
  }
}

// The tensors of the network that reads forwards, or by their `suffix` backwards, under a language model's names.
function readingOf(tensors, suffix) {
  const found = { "embedding.weight": tensors["embedding.weight"] };
  if (!suffix && tensors["pairs.weight"]) found["pairs.weight"] = tensors["pairs.weight"]; // They are of texts read forwards.
  for (const name of Object.keys(tensors)) {
    if (name.startsWith("rnn.") && !name.endsWith("_reverse")) found[name] = tensors[`${name}${suffix}`];
  }
  return found;
}
