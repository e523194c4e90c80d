"use strict";
// The interactive tree and the sortable tables. Everything that comes from data is set as text, never as markup.

const DOWN = 132; // between levels, pixels

const data = JSON.parse(document.getElementById("explorer-data").textContent);
const labels = data.labels;
const $ = (id) => document.getElementById(id);

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function picture(uri) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = uri;
  });
}

function numbers(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Uint16Array.from({ length: bytes.length / 2 }, (_, i) => view.getUint16(2 * i, true));
}

class Explorer {
  constructor(sheet, masks) {
    this.sheet = sheet;
    this.masks = masks;
    this.pairs = data.nodes.map((node) => numbers(node.pairs));
    this.parent = data.nodes.map(() => -1);
    data.nodes.forEach((node, k) => node.children.forEach((child) => (this.parent[child] = k)));
    this.node = 0;
    this.buttons = [];
    this.edges = [];
    this.layOut();
    this.fillControls();
    this.show(data.listed.length ? data.listed[0] : this.pair(0, 1));
    $("explorer").hidden = false;
  }

  // ---- data

  distance(node, i, j) {
    if (i === j) return 0;
    const [a, b] = i < j ? [i, j] : [j, i];
    const n = data.tests;
    const value = this.pairs[node][a * n - (a * (a + 1)) / 2 + b - a - 1];
    return value === 65535 ? null : (value / 65534) ** 2;
  }

  /** Any two test images; what parts say by exchange is known of listed pairs alone. */
  pair(first, second) {
    const listed = data.listed.find((p) => p.first === first && p.second === second);
    if (listed) return listed;
    const turned = data.listed.find((p) => p.first === second && p.second === first); // all but the change is symmetric
    if (turned) return { ...turned, first, second, change: null };
    const distance = data.nodes.map((_, k) => this.distance(k, first, second));
    const evidence = distance.map((d, k) => (d === null ? 0 : data.nodes[k].slope * (data.nodes[k].threshold - d)));
    const logOdds = evidence.reduce((sum, e) => sum + e, 0);
    return { first, second, kind: "other", distance, evidence, logOdds, share: data.nodes.map(() => null), change: null, sentence: this.sentence(evidence, logOdds) };
  }

  /** The answer in words, as `heml explain` has it, but by the evidence of the leaves alone. */
  sentence(evidence, logOdds) {
    const side = logOdds > 0 ? 1 : -1;
    const told = `${side > 0 ? "Same" : "Different"} (${certainty(logOdds)} %)`;
    const leaves = data.nodes.map((node, k) => [k, side * evidence[k]]).filter(([k, e]) => !data.nodes[k].children.length && e > 0);
    if (!leaves.length) return `${told}, by its parts together.`;
    const [best, most] = leaves.reduce((a, b) => (b[1] > a[1] ? b : a));
    const part = most / leaves.reduce((sum, [, e]) => sum + e, 0);
    const how = part > 0.5 ? "mostly because of" : "above all because of";
    return `${told}, ${how} ${data.nodes[best].name.replaceAll("_", " ")}: ${(100 * part).toFixed(0)} % of the evidence ${side > 0 ? "for" : "against"} it.`;
  }

  /** Evidence of a node and all below it. */
  subtree(k, pair) {
    return data.nodes[k].children.reduce((sum, child) => sum + this.subtree(child, pair), pair.evidence[k]);
  }

  percentile(node, distance) {
    const q = data.nodes[node].quantiles;
    if (distance === null || !q.length) return null;
    if (distance < q[0]) return 0;
    if (distance >= q[100]) return 100;
    let k = 0;
    while (q[k + 1] <= distance) k++;
    return k + (q[k + 1] > q[k] ? (distance - q[k]) / (q[k + 1] - q[k]) : 0);
  }

  // ---- pictures

  /** What a node sees of an image, on a canvas of at most `side` pixels. */
  draw(image, node, side) {
    const [w, h] = data.tile;
    const scale = w / data.canvas[0];
    const [x0, y0, x1, y1] = data.nodes[node].box.map((v) => v * scale);
    const at = [(image % data.across) * w, Math.floor(image / data.across) * h];
    const zoom = Math.min(side / (x1 - x0), side / (y1 - y0));
    const canvas = make("canvas");
    canvas.width = Math.max(1, Math.round((x1 - x0) * zoom));
    canvas.height = Math.max(1, Math.round((y1 - y0) * zoom));
    const context = canvas.getContext("2d");
    const place = [at[0] + x0, at[1] + y0, x1 - x0, y1 - y0, 0, 0, canvas.width, canvas.height];
    for (const leaf of data.nodes[node].leaves) context.drawImage(this.masks[leaf], ...place);
    context.globalCompositeOperation = "source-in";
    context.drawImage(this.sheet, ...place);
    return canvas;
  }

  tile(image, node, note, className) {
    const figure = make("figure", "tile " + (className || ""));
    const canvas = this.draw(image, node, 84);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", data.images[image].id);
    figure.append(canvas, make("figcaption", "", data.images[image].id), make("div", "soft", note));
    return figure;
  }

  // ---- the tree

  layOut() {
    const top = Math.max(...data.nodes.map((node) => node.y));
    const leaves = Math.max(...data.nodes.map((node) => node.x)) + 1;
    const stage = $("stage");
    const across = Math.min(118, Math.max(84, Math.floor((document.body.clientWidth - 130) / leaves))); // as wide as there is room
    this.side = Math.floor((across - 22) / 2);
    const width = leaves * across;
    const height = (top + 1) * DOWN;
    stage.style.width = width + "px";
    stage.style.height = height + "px";
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("aria-hidden", "true");
    stage.append(svg);
    data.nodes.forEach((node, k) => {
      const x = (node.x + 0.5) * across;
      const y = (top - node.y) * DOWN + 6;
      if (this.parent[k] >= 0) {
        const above = data.nodes[this.parent[k]];
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        const px = (above.x + 0.5) * across;
        const py = (top - above.y) * DOWN + 60;
        path.setAttribute("d", `M${px} ${py}V${(top - above.y + 1) * DOWN - 12}H${x}V${y + 10}`);
        svg.append(path);
        this.edges[k] = path;
      }
      const button = make("button", "node");
      button.type = "button";
      button.style.left = x + "px";
      button.style.top = y + "px";
      button.addEventListener("click", () => this.select(k));
      button.addEventListener("keydown", (event) => this.move(event, k));
      stage.append(button);
      this.buttons[k] = button;
    });
  }

  /** Arrow keys: up to the parent, down to the first child, left and right along the level. */
  move(event, k) {
    const level = data.nodes.map((_, i) => i).filter((i) => data.nodes[i].y === data.nodes[k].y);
    level.sort((a, b) => data.nodes[a].x - data.nodes[b].x);
    const at = level.indexOf(k);
    const to = {
      ArrowUp: this.parent[k],
      ArrowDown: data.nodes[k].children[0],
      ArrowLeft: level[at - 1],
      ArrowRight: level[at + 1],
    }[event.key];
    if (to === undefined || to < 0) return;
    event.preventDefault();
    this.buttons[to].focus();
  }

  show(pair) {
    this.current = pair;
    $("first").value = pair.first < data.tests ? pair.first : "";
    $("second").value = pair.second < data.tests ? pair.second : "";
    $("listed").value = String(data.listed.indexOf(pair));
    data.nodes.forEach((node, k) => {
      const d = pair.distance[k];
      const button = this.buttons[k];
      const pictures = make("span", "pictures");
      pictures.append(this.draw(pair.first, k, this.side), this.draw(pair.second, k, this.side));
      const chip = make("span", "chip", d === null ? "absent" : signed(pair.evidence[k]));
      chip.style.background = d === null ? "#dcdfe5" : shade(pair.evidence[k]);
      button.replaceChildren(make("span", "name", node.name), pictures, chip);
      button.setAttribute("aria-label", this.words(k, pair));
      if (this.edges[k]) {
        const sum = this.subtree(k, pair);
        this.edges[k].setAttribute("class", sum > 0 ? "alike" : sum < 0 ? "apart" : "");
        this.edges[k].style.strokeWidth = 1 + 10 * Math.min(Math.abs(sum) / data.fullEdge, 1);
      }
    });
    this.tellPair(pair);
    this.select(this.node);
  }

  words(k, pair) {
    const d = pair.distance[k];
    const name = data.nodes[k].name;
    if (d === null) return `${name}: ${this.absence(k, pair)}, so it says nothing`;
    const e = pair.evidence[k];
    const parts = [`${name}: ${signed(e)} ${e > 0 ? "for" : "against"} one label`, `distance ${digits(d)}`];
    const rank = this.percentile(k, d);
    if (rank !== null) parts.push(`closer than ${(100 - rank).toFixed(0)} % of pairs`);
    if (data.nodes[k].children.length) parts.push(`with all below it ${signed(this.subtree(k, pair))}`);
    else if (pair.share[k] !== null) parts.push(`at all nodes that see it ${signed(pair.share[k])}`);
    return parts.join(", ");
  }

  absence(k, pair) {
    const there = [pair.first, pair.second].map((image) => this.shows(image, k));
    return there[0] ? "absent in the second" : there[1] ? "absent in the first" : "absent in both";
  }

  /** Whether anything of a node is seen of an image. */
  shows(image, k) {
    return data.nodes[k].leaves.some((leaf) => data.present[leaf][image]);
  }

  tellPair(pair) {
    const [a, b] = [data.images[pair.first], data.images[pair.second]];
    const right = (pair.logOdds > 0) === (a.label === b.label);
    const truth = `${a.id} is ${labels[a.label]}, ${b.id} is ${labels[b.label]}${right ? "" : ": the tree is wrong"}.`;
    $("verdict").textContent = `${pair.sentence} ${truth}`;
    const change = $("change");
    change.replaceChildren();
    if (pair.change) {
      const image = make("img");
      image.src = pair.change.picture;
      const told = pair.change.logOdds > 0 ? "same" : "different";
      image.alt = `${a.id} with the ${pair.change.segments.join(" and ")} of ${pair.change.donor}`;
      change.append(image, make("p", "", `What would have to change: with the ${pair.change.segments.join(" and ")} of ${pair.change.donor}, ${a.id} and ${b.id} would be ${told} (${certainty(pair.change.logOdds)} %).`));
    }
  }

  select(k) {
    this.node = k;
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === k)));
    const node = data.nodes[k];
    const pair = this.current;
    $("panel-pair").replaceChildren(make("h3", "", node.name), this.pairPanel(k, pair));
    $("panel-near").replaceChildren(make("h3", "", `Nearest ${data.searched} images by ${node.name}`), ...this.nearPanels(k, pair));
    $("panel-curve").replaceChildren(make("h3", "", "Score and learning curve"), this.scorePanel(node), this.curve(node));
    $("panel-worst").replaceChildren(make("h3", "", `Worst pairs by ${node.name}`), this.worstPanel(k));
  }

  pairPanel(k, pair) {
    const box = make("div");
    const tiles = make("div", "tiles");
    for (const image of [pair.first, pair.second]) tiles.append(this.tile(image, k, labels[data.images[image].label]));
    box.append(tiles, make("p", "", this.words(k, pair)));
    const node = data.nodes[k];
    if (node.slope) box.append(make("p", "soft", `A distance of ${node.threshold.toPrecision(2)} says nothing; its weight in the tree's distance is ${(100 * node.weight).toFixed(1)} %.`));
    else box.append(make("p", "soft", "It has no part in the tree's answer."));
    return box;
  }

  nearPanels(k, pair) {
    return [pair.first, pair.second].map((image) => {
      const box = make("div");
      const own = data.images[image];
      box.append(make("p", "soft", `of ${own.id} (${labels[own.label]})`));
      const found = image < data.tests ? data.nodes[k].near[image].filter((i) => i >= 0) : [];
      if (!found.length) {
        box.append(make("p", "", image < data.tests ? "It shows nothing of this node." : "Not among the test images on this page: `heml neighbours` has its own."));
        return box;
      }
      const tiles = make("div", "tiles");
      for (const i of found) tiles.append(this.tile(i, k, labels[data.images[i].label], data.images[i].label === own.label ? "right" : "wrong"));
      box.append(tiles);
      return box;
    });
  }

  scorePanel(node) {
    const s = node.scores;
    const percent = (v) => (v === null ? "–" : (100 * v).toFixed(1));
    const limit = s.limit === null ? "" : `, limit ${percent(s.limit)}`;
    const text = `P@1 ${percent(s["p@1"])} % (${percent(s["p@1_low"])} to ${percent(s["p@1_high"])}), chance ${percent(s.chance)}, majority ${percent(s.majority)}${limit}; present in ${percent(s.coverage)} % of the test images. Pairs: AUC ${percent(s.auc)} (chance 50).${s.tree_loses === null ? "" : ` Without it the tree's P@1 would be ${percent(Math.abs(s.tree_loses))} points ${s.tree_loses < 0 ? "higher" : "lower"}.`}`;
    return make("p", "", text);
  }

  curve(node) {
    const rows = node.curve.filter((row) => row[1] !== null);
    if (!rows.length) return make("p", "", "No learning curve: P@1 on val was not measured, or no validation image shows this node.");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 300 120");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", "P@1 on val over the epochs: " + rows.map((row) => row[1].toFixed(2)).join(", "));
    const last = Math.max(1, rows[rows.length - 1][0]);
    const points = rows.map((row) => `${28 + (row[0] / last) * 262} ${100 - row[1] * 90}`);
    for (const [d, colour] of [["M28 10V100H290", "var(--line)"], ["M" + points.join("L"), "var(--bar)"]]) {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", d);
      path.style.stroke = colour;
      svg.append(path);
    }
    for (const [x, y, text] of [[16, 14, "1"], [16, 104, "0"], [160, 116, `P@1 on val by epoch (0 to ${last})`]]) {
      const label = document.createElementNS("http://www.w3.org/2000/svg", "text");
      label.setAttribute("x", x);
      label.setAttribute("y", y);
      label.textContent = text;
      svg.append(label);
    }
    return svg;
  }

  /** Test pairs that the node is most wrong about: alike with different labels, unlike with the same. */
  worstPanel(k) {
    const found = { alike: [], unlike: [] };
    for (let i = 0; i < data.tests; i++) {
      for (let j = i + 1; j < data.tests; j++) {
        const d = this.distance(k, i, j);
        if (d === null) continue;
        const same = data.images[i].label === data.images[j].label;
        if (!same) keep(found.alike, { i, j, d, key: d });
        else keep(found.unlike, { i, j, d, key: -d });
      }
    }
    const box = make("div");
    for (const [kind, title] of [["alike", "Close, but of different labels"], ["unlike", "Far apart, but of the same label"]]) {
      box.append(make("p", "soft", title));
      const list = make("ul", "worst");
      for (const { i, j, d } of found[kind]) {
        const item = make("li");
        const button = make("button", "jump", `${data.images[i].id} and ${data.images[j].id}: ${digits(d)}`);
        button.type = "button";
        button.addEventListener("click", () => this.show(this.pair(i, j)));
        item.append(button);
        list.append(item);
      }
      box.append(found[kind].length ? list : make("p", "", "None."));
    }
    return box;
  }

  // ---- controls

  fillControls() {
    const listed = $("listed");
    listed.append(new Option("any two test images (below)", "-1"));
    const names = { telling: "Telling pairs", mistake: "Mistakes: a test image and what it was taken for" };
    for (const kind of Object.keys(names)) {
      const group = document.createElement("optgroup");
      group.label = names[kind];
      data.listed.forEach((pair, k) => {
        if (pair.kind === kind) group.append(new Option(`${data.images[pair.first].id} and ${data.images[pair.second].id}`, k));
      });
      if (group.children.length) listed.append(group);
    }
    for (const id of ["first", "second"]) {
      const select = $(id);
      for (let i = 0; i < data.tests; i++) select.append(new Option(`${data.images[i].id} (${labels[data.images[i].label]})`, i));
      select.addEventListener("change", () => {
        if ($("first").value !== "" && $("second").value !== "") this.show(this.pair(Number($("first").value), Number($("second").value)));
      });
    }
    listed.addEventListener("change", () => {
      if (listed.value !== "-1") this.show(data.listed[Number(listed.value)]);
    });
    $("random").addEventListener("click", () => {
      const i = Math.floor(Math.random() * data.tests);
      const j = (i + 1 + Math.floor(Math.random() * (data.tests - 1))) % data.tests;
      this.show(this.pair(i, j));
    });
  }
}

/** How sure a decision is, percent from 50 to 99. */
function certainty(logOdds) {
  return Math.min(99, Math.round(100 / (1 + Math.exp(-Math.abs(logOdds)))));
}

/** Evidence: always with its sign. */
function signed(value) {
  return (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
}

/** The colour of evidence, between the scale's own. */
function shade(evidence) {
  const at = ((Math.min(Math.max(evidence / data.full, -1), 1) + 1) / 2) * (data.shades.length - 1);
  const low = Math.min(Math.floor(at), data.shades.length - 2);
  const channel = (colour, i) => parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
  const mix = [0, 1, 2].map((i) => Math.round(channel(data.shades[low], i) + (channel(data.shades[low + 1], i) - channel(data.shades[low], i)) * (at - low)));
  return `rgb(${mix.join(" ")})`;
}

/** A distance: small ones with a digit more. */
function digits(d) {
  return d.toFixed(d < 0.1 ? 3 : 2);
}

/** Keep the four entries with the smallest keys, in order. */
function keep(list, entry) {
  if (list.length === 4 && entry.key >= list[3].key) return;
  list.push(entry);
  list.sort((a, b) => a.key - b.key);
  list.length = Math.min(list.length, 4);
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", "", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].textContent.trim();
      const number = (text) => parseFloat(text.replace(/,/g, "").replace(/^−/, "-"));
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [x, y] = [number(key(a)), number(key(b))];
        if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // what is unknown stands last
        const order = Number.isNaN(x) ? key(a).localeCompare(key(b)) : x - y;
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}

document.querySelectorAll("table.sortable").forEach(sortable);
if (data.tests > 1) {
  Promise.all([picture(data.sheet), ...data.masks.map(picture)]).then(([sheet, ...masks]) => new Explorer(sheet, masks));
}
