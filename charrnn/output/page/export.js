"use strict";

// The page: the settings, the buttons, and the clock that lets all networks write together.

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const FRAME = 11; // milliseconds of a frame in which the networks write
  const FAST = 33; // the same where nobody reads along: fewer frames, more text
  const FIRST = 420; // characters that are there when the page opens
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  readShades();
  const settings = { temperature: 0.8, topK: 0, seed: 1 };
  const players = [...document.querySelectorAll("article[data-network]")].map(
    (root) => new Player(root, data.networks[Number(root.dataset.network)], settings));
  const lessons = new Lessons(players);

  // -- writing -----------------------------------------------------------------------------------------------------------
  let running = false, until = Infinity, began = 0, written = 0, owed = 0, then = 0;

  function run(limit = Infinity) {
    until = limit;
    for (const player of players) player.chosen = -1;
    if (running) return;
    running = true;
    began = then = performance.now();
    written = owed = 0;
    tell();
    requestAnimationFrame(frame);
  }

  function stop() {
    running = false;
    tell();
    lessons.soon();
  }

  function frame(now) {
    if (!running) return;
    const pace = until < Infinity ? 0 : Number(find("pace").value), end = performance.now() + (pace ? FRAME : FAST); // 0: as fast as it can
    // A page in the background owes nothing.
    owed = pace ? Math.min(owed + (Math.min(now - then, 250) * pace) / 1000, pace) : Infinity;
    then = now;
    let stepped = false;
    while (owed >= 1 && written < until) {
      for (const player of players) player.step();
      stepped = true;
      written++;
      owed--;
      if (performance.now() >= end) break;
    }
    if (stepped) {
      for (const player of players) player.draw();
      lessons.soon(600);
    }
    if (written >= until) return stop();
    find("rate").textContent = until === Infinity && now - began > 1000 ? `${Math.round((1000 * written) / (now - began)).toLocaleString("en")} characters a second` : "";
    requestAnimationFrame(frame);
  }

  function step() {
    if (running) stop();
    for (const player of players) {
      player.chosen = -1;
      player.step();
      player.draw();
    }
    lessons.soon();
  }

  function restart() {
    const unknown = new Set();
    for (const player of players) {
      const read = player.vocabulary.encode(find("prompt").value);
      for (const one of read.unknown) unknown.add(one);
      player.restart(read.ids);
      player.draw();
    }
    find("said").textContent = unknown.size ? `Unknown to the network: ${[...unknown].slice(0, 12).join(" ")}` : "";
    lessons.soon();
  }

  function tell() {
    find("run").textContent = running ? "Stop" : "Run";
    find("run").setAttribute("aria-pressed", String(running));
    if (!running && until < Infinity) find("rate").textContent = "";
  }

  find("run").addEventListener("click", () => (running ? stop() : run()));
  find("step").addEventListener("click", step);
  find("again").addEventListener("click", () => {
    restart();
    run();
  });
  find("prompt").addEventListener("input", () => {
    stop();
    restart();
  });
  find("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter") run();
  });

  // -- settings ----------------------------------------------------------------------------------------------------------
  function read() {
    settings.temperature = Number(find("temperature").value);
    settings.topK = Math.max(0, Math.floor(Number(find("top-k").value)) || 0);
    find("temperature-is").textContent = settings.temperature.toFixed(2);
    for (const player of players) player.drawBars();
  }
  for (const name of ["temperature", "top-k"]) find(name).addEventListener("input", read);
  find("seed").addEventListener("input", () => {
    settings.seed = Math.max(0, Math.floor(Number(find("seed").value)) || 0);
    stop();
    restart();
  });

  // -- holding a unit at several values ------------------------------------------------------------------------------------
  for (const player of players) {
    player.listeners.push(() => lessons.soon(running ? 600 : 0));
    const button = player.find("compare"), rows = player.find("compared");
    button.addEventListener("click", () => {
      stop();
      player.abandon();
      rows.replaceChildren();
      player.find("meaning").textContent = "";
      button.disabled = true;
      const name = player.nameOf(player.unit), work = compare(player), found = [];
      player.comparing = work;
      const turn = () => {
        const end = performance.now() + 3 * FRAME;
        while (player.comparing === work && performance.now() < end) {
          const { done, value } = work.next();
          if (done) {
            player.find("meaning").textContent = meaning(found, player.records ? "record" : "line");
            return player.abandon();
          }
          if (!value) continue;
          found.push(value);
          showCompared(rows, name, found, player.records);
        }
        if (player.comparing === work) requestAnimationFrame(turn);
      };
      turn();
    });
  }

  function showCompared(rows, name, found, records) {
    const longest = Math.max(...found.map((one) => one.perLine)), what = records ? "a record" : "a line";
    rows.replaceChildren(...found.map(({ value, text, perLine, ends }) => {
      const bar = make("i", {}, make("span", {}));
      bar.firstChild.style.width = `${(100 * perLine) / longest}%`;
      const length = `${ends ? "" : "over "}${Math.round(perLine)} characters ${what}`;
      return make("li", {}, make("b", {}, value === null ? `${name} free` : `${name} held at ${number(value, 0)}`), bar,
        make("output", {}, length), make("q", {}, [...text.slice(0, 150)].map((one) => (one === "\n" ? "\u21b5 " : shapeInText(one))).join("")));
    }));
  }

  // What the comparison says of the unit, if a line ended in any of its texts.
  function meaning(found, what) {
    const held = found.filter(({ value }) => value !== null).sort((a, b) => a.perLine - b.perLine), [shortest] = held, longest = held[held.length - 1];
    const times = longest.perLine / shortest.perLine;
    if (!found.some(({ ends }) => ends)) return "";
    if (times < 1.5) return `A ${what} is about as long at each value: this unit alone doesn\u2019t say where it ends.`;
    return `A ${what} is ${number(times, 1)} times as long with the unit held at ${number(longest.value, 0)} as at ${number(shortest.value, 0)}: `
      + `from this unit the network reads when to end a ${what}. Held, the unit tells it the same wherever it is.`;
  }

  // -- the page itself ----------------------------------------------------------------------------------------------------
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readShades();
    for (const player of players) player.choose(player.unit);
  });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    for (const player of players) player.draw();
  });

  read();
  restart();
  find("controls").disabled = false;
  if (calm.matches) {
    for (let n = 0; n < FIRST; n++) for (const player of players) player.step();
    for (const player of players) player.draw();
  } else run(FIRST);
})();
