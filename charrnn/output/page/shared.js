"use strict";

// What the scripts of all pages share: bytes, elements, and symbols as people read them.

function bytesOf(base64) {
  const raw = atob(base64), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

function make(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

// The same for an element of a drawing.
function makeSvg(tag, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A symbol as people read it: what has no shape of its own gets one.
function shape(symbol) {
  const names = { "\n": "\u21b5", " ": "\u2423", "\t": "\u21e5", "": "\u00b7" };
  if (symbol in names) return names[symbol];
  const code = symbol.codePointAt(0);
  return code < 32 ? String.fromCodePoint(0x2400 + code) : code >= 127 && code < 160 ? "\u2421" : symbol;
}

// Characters in the text keep their shape, but those without one are made visible.
function shapeInText(piece) {
  return Array.from(piece).map((one) => (one === " " || one === "\t" ? one : shape(one))).join("");
}
