"use strict";

// The page of a classifier: a sentence that is typed, and what the classifier would say behind each of its letters.

(() => {
  const data = JSON.parse(document.getElementById("data").textContent).classifier;
  const find = (id) => document.getElementById(id);
  const FRAME = 11; // milliseconds of a frame in which it reads
  const LETTER = 70; // milliseconds from letter to letter of an example
  const ROWS = 24; // labels that have a bar
  const NAMES = { last: "final", mean: "mean", max: "highest" };
  const SHOWN = 10; // numbers of a row that are written out
  const SPEAKING = 6; // units that are told of
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  readShades();
  const judge = new Judge(data), all = judge.labels.length, unitName = (u) => `${data.model.num_layers - 1}:${u}`;
  let text = { ids: [], characters: [], unknown: [], cut: 0 }; // what is read
  let work = null; // what reads it, a piece at each turn
  let looked = -1; // the character that is looked at; -1: the last
  let label = -1; // the label that colours the text; -1: the likeliest at the end
  let unit = -1; // of all networks; -1: the one that speaks most
  let shown = 0; // the unit that is told of
  let typing = 0; // the timer of an example that types itself
  let spans = [];

  // -- reading -----------------------------------------------------------------------------------------------------------
  function read() {
    const { value } = find("sentence");
    text = judge.symbolsOf(value);
    looked = -1;
    const told = [];
    if (text.unknown.length) told.push(`Unknown to the network: ${text.unknown.slice(0, 12).join(" ")}`);
    if (text.cut) told.push(`It reads the first ${judge.longest.toLocaleString("en")} characters; the rest doesn\u2019t count.`);
    find("said").textContent = told.join(" ");
    const mine = (work = judge.read(text));
    const turn = () => {
      if (work !== mine) return;
      const end = performance.now() + FRAME;
      while (performance.now() < end) {
        if (work.next().done) {
          work = null;
          return draw();
        }
      }
      requestAnimationFrame(turn);
    };
    turn();
  }

  // What it says if the text ends behind a character; -1: before the first.
  const saidAfter = (at) => judge.after[at < 0 ? 0 : text.characters[at].end].said;
  const last = () => text.characters.length - 1;
  const place = () => (looked < 0 ? last() : looked);
  const best = (said) => likeliest(said.shares, 1)[0];
  const colouring = () => (label < 0 ? best(saidAfter(last())) : label);

  // -- drawing -----------------------------------------------------------------------------------------------------------
  function draw() {
    if (work) return; // It draws when it has read.
    const said = saidAfter(place()), chosen = colouring();
    drawText(chosen);
    drawBars(said);
    drawUnits(said);
    drawLessons(said);
    find("coloured").textContent = judge.labels[chosen];
    find("follow").hidden = label < 0;
    const sofar = text.characters.slice(0, place() + 1).map((one) => one.text).join("");
    for (const element of document.querySelectorAll("[data-part=so-far]")) element.textContent = shapeInText(Array.from(sofar).slice(-32).join(""));
    find("answer").textContent = judge.labels[best(said)];
    find("sure").textContent = share(said.shares[best(said)]);
  }

  function drawText(chosen) {
    spans = text.characters.map((one, at) => {
      const span = make("span", {}), probability = saidAfter(at).shares[chosen];
      span.textContent = one.text === "\n" ? "\u21b5\n" : shapeInText(one.text);
      span.style.backgroundColor = shades.heat[Math.round(probability * LEVELS)];
      span.title = odds(judge.labels[best(saidAfter(at))], saidAfter(at).shares[best(saidAfter(at))]);
      span.classList.toggle("at", at === looked);
      return span;
    });
    find("text").replaceChildren(...spans);
  }

  // The labels stay where they are, so that the eye can follow them; of very many the likeliest have a bar.
  function drawBars(said) {
    const rows = all <= ROWS ? judge.labels.map((_, at) => at) : likeliest(said.shares, ROWS), winner = best(said);
    bars.forEach((bar, row) => {
      const at = rows[row], amount = said.shares[at];
      bar.label = at;
      bar.name.textContent = bar.row.title = judge.labels[at];
      bar.fill.style.width = `${100 * amount}%`;
      bar.amount.textContent = share(amount);
      bar.row.classList.toggle("winner", at === winner);
      bar.row.setAttribute("aria-pressed", String(at === label));
    });
  }

  const bars = Array.from({ length: Math.min(all, ROWS) }, () => {
    const row = make("button", { type: "button" }, make("b", {}), make("i", {}, make("span", {})), make("output", {}));
    const [name, track, amount] = row.children, bar = { row, name, fill: track.firstChild, amount, label: 0 };
    row.addEventListener("click", () => {
      label = label === bar.label ? -1 : bar.label;
      draw();
    });
    find("labels").append(make("li", {}, row));
    return bar;
  });

  const grids = judge.sides.map((_, side) => {
    const canvas = make("canvas", { tabindex: "0", role: "application" });
    const what = ["reads forwards", "reads backwards"][side], grid = { canvas, cell: 0, columns: 0 };
    canvas.setAttribute("aria-label", `The ${judge.H} units of the network that ${what}; arrow keys move from unit to unit`);
    if (judge.sides.length > 1) find("units").append(make("b", {}, what));
    find("units").append(canvas);
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect(), found = unitAt(grid, event.clientX - box.x, event.clientY - box.y);
      if (found < judge.H) choose(side * judge.H + found);
    });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: grid.columns, ArrowUp: -grid.columns }[event.key];
      if (!by) return;
      event.preventDefault();
      choose(side * judge.H + Math.max(0, Math.min(judge.H - 1, (shown % judge.H) + by)));
    });
    return grid;
  });

  function choose(found) {
    unit = found;
    draw();
  }

  // What the numbers of each unit add to the score of the label that colours the text.
  function addedBy(said) {
    const { H, features, sides } = judge, all = judge.contributions(said.seen, colouring()), units = sides.length * H;
    return Array.from({ length: units }, (_, unit) => features.reduce((sum, _, row) => sum + all[row * units + unit], 0));
  }

  function drawUnits(said) {
    const { H } = judge, added = judge.weights ? addedBy(said) : null;
    shown = unit >= 0 ? unit : added ? likeliest(added.map(Math.abs), 1)[0] : 0;
    const side = Math.floor(shown / H), u = shown % H;
    grids.forEach((grid, at) => paintGrid(grid, said.h[at], () => false, at === side ? u : -1));
    const words = [`Unit ${unitName(u)}${side ? ", backwards" : ""} is at ${number(said.h[side][u])}`];
    if (added) {
      const sum = added[shown];
      words.push(`and speaks ${sum < 0 ? "against" : "for"} ${judge.labels[colouring()]} by ${number(Math.abs(sum))}`);
    }
    find("unit").textContent = `${words.join(" ")}.`;
  }

  // -- what happens, with the numbers of this sentence -----------------------------------------------------------------------
  function drawLessons(said) {
    const row = (values) => [...values.slice(0, SHOWN)].flatMap((value) => {
      const one = make("span", {}, number(value));
      one.style.backgroundColor = shade(0.6 * Math.max(-1, Math.min(1, value)));
      return [one, " "];
    });
    const rest = (values) => (values.length > SHOWN ? `\u2026 and ${values.length - SHOWN} more` : "");
    find("state").replaceChildren(...row(said.h[0]), rest(said.h[0]));
    find("seen").replaceChildren(...row(said.seen), rest(said.seen));
    find("scores").replaceChildren(...likeliest(said.shares, 3).map((at) =>
      make("li", {}, make("b", {}, judge.labels[at]), ` has the score ${number(said.scores[at])}, which makes ${share(said.shares[at])}`)));
    if (!judge.weights) return;
    const chosen = colouring(), adds = judge.contributions(said.seen, chosen);
    find("speaks-for").textContent = judge.labels[chosen];
    find("speaking").replaceChildren(...likeliest(adds.map(Math.abs), SPEAKING).map((f) => {
      const feature = judge.features[Math.floor(f / (judge.H * judge.sides.length))], side = Math.floor(f / judge.H) % judge.sides.length;
      const go = make("button", { type: "button" }, `${NAMES[feature]} of ${unitName(f % judge.H)}${side ? " backwards" : ""} `,
        make("small", {}, `${adds[f] < 0 ? "" : "+"}${number(adds[f])}`));
      go.addEventListener("click", () => choose(side * judge.H + (f % judge.H)));
      return go;
    }));
  }

  // -- what is typed and tapped ------------------------------------------------------------------------------------------------
  function look(at) {
    looked = at >= last() ? -1 : Math.max(0, at);
    draw();
    spans[place()]?.scrollIntoView({ block: "nearest" });
  }

  // An example types itself, so that the label can be seen to change.
  function type(example) {
    clearTimeout(typing);
    const letters = Array.from(example);
    let count = calm.matches ? letters.length : 0;
    const next = () => {
      find("sentence").value = letters.slice(0, count).join("");
      read();
      if (count++ < letters.length) typing = setTimeout(next, LETTER);
    };
    next();
  }

  find("sentence").addEventListener("input", () => {
    clearTimeout(typing);
    read();
  });
  find("follow").addEventListener("click", () => {
    label = -1;
    draw();
  });
  find("text").addEventListener("click", (event) => {
    const at = spans.indexOf(event.target.closest("span"));
    if (at >= 0) look(at);
  });
  find("text").addEventListener("keydown", (event) => {
    const to = { ArrowRight: place() + 1, ArrowLeft: place() - 1, Home: 0, End: last() }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    look(to);
  });
  for (const example of data.examples) {
    const chip = make("button", { type: "button" }, example);
    chip.addEventListener("click", () => type(example));
    find("examples").append(chip);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readShades();
    draw();
  });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    draw();
  });
  find("sentence").disabled = false;
  find("examples").hidden = !data.examples.length;
  type(data.examples[0] ?? "");
})();
