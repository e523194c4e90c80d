// Shared by all parts of the page. Everything that comes from data is set as text or as an attribute, never as markup.

const data = JSON.parse(document.getElementById("explorer-data").textContent);
const labels = data.labels;
const SVG = "http://www.w3.org/2000/svg";
const UNKNOWN = 65535; // a distance, a neighbour or a place that does not exist
const $ = (id) => document.getElementById(id);

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function button(text, act, className) {
  const element = make("button", className, text);
  element.type = "button";
  element.addEventListener("click", act);
  return element;
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/** Little-endian 16-bit numbers. */
function numbers(base64) {
  const found = bytes(base64);
  const view = new DataView(found.buffer);
  return Uint16Array.from({ length: found.length / 2 }, (_, i) => view.getUint16(2 * i, true));
}

/** A part's name for people. */
const words = (name) => name.replaceAll("_", " ");

/** An image's label for people; of an image that is not of the data set it is null. */
const labelOf = (image) => labels[data.images[image].label] ?? "label unknown";

/** Whether two images have one label: `right`, `wrong`, or nothing where a label is unknown. */
function agreement(i, j) {
  const [a, b] = [data.images[i].label, data.images[j].label];
  return a === null || b === null ? "" : a === b ? "right" : "wrong";
}

/** How sure a decision is, percent from 50 to 99: nothing is certain. */
const certainty = (logOdds) => Math.min(99, Math.round(100 / (1 + Math.exp(-Math.abs(logOdds)))));

/** The decision in words. */
const decision = (logOdds) => `${logOdds > 0 ? "Same" : "Different"} (${certainty(logOdds)} %)`;

const judged = (logOdds) => `${logOdds > 0 ? "the same" : "different"} (${certainty(logOdds)} %)`;

/** Evidence: with its sign, where two digits tell it from nothing. */
const NOTHING = 0.005; // evidence that is none when it is told
const signed = (value) =>
  Math.abs(value) < NOTHING ? (value === 0 ? "0" : "0.00") : (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

/** A distance: small ones with a digit more. */
const digits = (d) => d.toFixed(d < 0.1 ? 3 : 2);

const percent = (v) => (v === null ? "–" : (100 * v).toFixed(1));

/** The colour of evidence, between the scale's own. */
function shade(evidence) {
  const at = ((Math.min(Math.max(evidence / data.full, -1), 1) + 1) / 2) * (data.shades.length - 1);
  const low = Math.min(Math.floor(at), data.shades.length - 2);
  const channel = (colour, i) => parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
  const mix = [0, 1, 2].map((i) => {
    const [a, b] = [channel(data.shades[low], i), channel(data.shades[low + 1], i)];
    return Math.round(a + (b - a) * (at - low));
  });
  return `rgb(${mix.join(" ")})`;
}

/** Said by a screen reader, a sentence at a time. */
function tell(text) {
  $("told").textContent = text;
}

/** Keep the few entries with the smallest keys, in order. */
function keep(list, entry, most) {
  if (list.length === most && entry.key >= list[most - 1].key) return;
  list.push(entry);
  list.sort((a, b) => a.key - b.key);
  list.length = Math.min(list.length, most);
}

/** “a, b and c”. */
function enumerated(names) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}
