"use strict";

// What the pages of running networks draw alike: numbers as people read them, shades, units as a grid.

const LEVELS = 24; // shades of each colour

const number = (value, digits = 2) => {
  const size = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(size) ? "\u2212" : "") + size;
};
const share = (value) => (value >= 0.0995 ? `${Math.round(100 * value)} %` : `${(100 * value).toFixed(1)} %`);
// A symbol or a label with its share; letters that are written from right to left don't turn the line around.
const odds = (symbol, amount) => `\u2068${symbol}\u2069 ${share(amount)}`;

// Shades of the theme: a function from a number of -1 to 1 to a colour.
const shades = { up: [], down: [], heat: [] };
function readShades() {
  const style = getComputedStyle(document.documentElement);
  for (const side of ["up", "down", "heat"]) {
    const colour = style.getPropertyValue(`--${side}`).trim();
    shades[side] = Array.from({ length: LEVELS + 1 }, (_, level) => `rgba(${colour}, ${((0.95 * level) / LEVELS).toFixed(3)})`);
  }
  for (const name of ["ink", "faint", "rule", "accent", "panel"]) shades[name] = style.getPropertyValue(`--${name}`).trim();
}
const shade = (value) => shades[value < 0 ? "down" : "up"][Math.min(LEVELS, Math.round(Math.abs(value) * LEVELS))];

// The ids of the largest values, the largest first; among equal ones the lowest.
function likeliest(values, count) {
  const found = [];
  for (let v = 0; v < values.length; v++) {
    if (found.length === count && values[v] <= values[found[count - 1]]) continue;
    let place = found.length;
    while (place > 0 && values[found[place - 1]] < values[v]) place--;
    found.splice(place, 0, v);
    if (found.length > count) found.pop();
  }
  return found;
}

// The values of units as a grid that fills its element's width; `grid` keeps its canvas, the size of a cell and the columns.
// Units for which `marked` is true have a dot, the unit `chosen` a frame.
function paintGrid(grid, values, marked, chosen) {
  const { canvas } = grid, H = values.length;
  const room = Math.max(100, canvas.parentElement.clientWidth), ratio = Math.min(3, window.devicePixelRatio || 1);
  // About three times as wide as high, of cells that a finger or a mouse can hit.
  const cell = Math.max(H <= 512 ? 17 : H <= 1024 ? 13 : 10, Math.min(26, Math.floor(room / Math.sqrt(3 * H))));
  const columns = Math.max(1, Math.min(H, Math.floor(room / cell))), rows = Math.ceil(H / columns);
  if (columns !== grid.columns || cell !== grid.cell || canvas.width !== Math.round(columns * cell * ratio)) {
    grid.columns = columns;
    grid.cell = cell;
    canvas.width = Math.round(columns * cell * ratio);
    canvas.height = Math.round(rows * cell * ratio);
    canvas.style.width = `${columns * cell}px`;
    canvas.style.height = `${rows * cell}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, columns * cell, rows * cell);
  for (let u = 0; u < H; u++) {
    const x = (u % columns) * cell, y = Math.floor(u / columns) * cell;
    pen.fillStyle = shades.rule;
    pen.globalAlpha = 0.45;
    pen.fillRect(x + 0.5, y + 0.5, cell - 2, cell - 2);
    pen.globalAlpha = 1;
    pen.fillStyle = shade(Math.max(-1, Math.min(1, values[u])));
    pen.fillRect(x + 0.5, y + 0.5, cell - 2, cell - 2);
    if (marked(u)) {
      pen.fillStyle = shades.ink;
      pen.fillRect(x + cell / 2 - 2.5, y + cell / 2 - 2.5, 4, 4);
    }
    if (u === chosen) {
      pen.strokeStyle = shades.ink;
      pen.lineWidth = 2;
      pen.strokeRect(x + 0.5, y + 0.5, cell - 2, cell - 2);
    }
  }
}

// The unit of a grid at a place of its canvas; Infinity where there is none.
function unitAt(grid, x, y) {
  const column = Math.floor(x / grid.cell);
  return column < grid.columns ? Math.floor(y / grid.cell) * grid.columns + column : Infinity;
}
