// All images of the page: filtered, found by id, compared by any part, and where they lie by it.

const PAGE = 60;
// Of labels on the map: told by shape as well as by colour.
const MARKS = ["circle", "square", "triangle", "diamond", "cross", "ring"];

class Gallery {
  constructor(metric, pictures, explorer) {
    Object.assign(this, { metric, pictures, explorer });
    this.image = 0;
    this.shown = PAGE;
    this.places = [data.map, ...data.nodes.map((node) => node.map)].map(numbers);
    this.fill();
    this.style();
    this.list();
    this.drawMap();
    $("gallery-box").hidden = false;
  }

  /** The sheet as every thumbnail's background, once. */
  style() {
    const [w, h] = data.tile;
    const sheet = new CSSStyleSheet();
    const rows = Math.ceil(data.images.length / data.across);
    sheet.insertRule(
      `.thumb i { background-image: url("${data.sheet}"); width: ${w}px; height: ${h}px; ` +
        `background-size: ${w * data.across}px ${h * rows}px; }`,
    );
    document.adoptedStyleSheets = [sheet];
  }

  fill() {
    this.stored = data.images.length; // those in the sheet
    for (const split of [...new Set(data.images.map((i) => i.split))].sort())
      $("of-split").append(new Option(split, split));
    labels.forEach((name, k) => data.images.some((i) => i.label === k) && $("of-label").append(new Option(name, k)));
    const kinds = [
      ["taken", "mistakes", (i) => i.taken !== undefined],
      ["suggested", "labels to check", (i) => i.suggested !== undefined],
    ];
    const groups = [...new Set(data.images.flatMap((i) => i.groups || []))].sort();
    this.kinds = new Map();
    for (const [value, text, of] of [
      ...kinds,
      ...groups.map((g) => [`group ${g}`, g, (i) => (i.groups || []).includes(g)]),
    ]) {
      const count = data.images.filter(of).length;
      if (!count) continue;
      this.kinds.set(value, of);
      $("of-kind").append(new Option(`${text} (${count})`, value));
    }
    $("by").append(new Option("all parts together", "-1"));
    data.nodes.forEach((node, k) => $("by").append(new Option(words(node.name), k)));
    for (const id of ["of-split", "of-label", "of-kind"]) $(id).addEventListener("change", () => this.list(true));
    $("sought").addEventListener("input", () => this.list(true));
    $("by").addEventListener("change", () => {
      this.drawMap();
      this.choose(this.image);
    });
    $("more").addEventListener("click", () => {
      this.shown += 4 * PAGE;
      this.list();
    });
  }

  get by() {
    return Number($("by").value);
  }

  list(anew) {
    if (anew) this.shown = PAGE;
    const [split, label, kind, sought] = ["of-split", "of-label", "of-kind", "sought"].map((id) => $(id).value);
    this.found = data.images
      .map((_, k) => k)
      .filter((k) => {
        const i = data.images[k];
        return (
          (!split || i.split === split) &&
          (label === "" || i.label === Number(label)) &&
          (!kind || this.kinds.get(kind)(i)) &&
          i.id.toLowerCase().includes(sought.toLowerCase())
        );
      });
    const none = this.found.length ? "" : `: none whose id holds “${sought}”`;
    $("count").textContent = `${this.found.length} of ${data.images.length} images${none}`;
    $("thumbs").replaceChildren(...this.found.slice(0, this.shown).map((k) => this.thumb(k)));
    $("more").hidden = this.found.length <= this.shown;
    this.markMap();
  }

  thumb(k) {
    const about = data.images[k];
    const [w, h] = data.tile;
    const face = k < this.stored ? make("i") : this.pictures.draw(k, -1, Math.max(w, h));
    if (k < this.stored)
      face.style.backgroundPosition = `${-(k % data.across) * w}px ${-Math.floor(k / data.across) * h}px`;
    const found = button("", () => this.choose(k, true), "thumb");
    found.append(face);
    found.title = about.id;
    found.setAttribute("aria-label", this.describe(k));
    if (about.taken !== undefined || about.suggested !== undefined)
      found.append(make("span", "mark", about.taken !== undefined ? "✗" : "?"));
    return found;
  }

  describe(k) {
    const about = data.images[k];
    const more = [];
    if (about.taken !== undefined) more.push(`taken for ${labels[about.taken]}`);
    if (about.suggested !== undefined) more.push(`neighbours say ${labels[about.suggested]}`);
    return [`${about.id}: ${labelOf(k)}`, about.split, ...more, ...(about.groups || [])].join(", ");
  }

  async choose(k, focus) {
    this.image = k;
    await this.pictures.load(k);
    const node = this.by;
    const box = make("div");
    const big = this.pictures.draw(k, node, 180);
    big.setAttribute("role", "img");
    big.setAttribute("aria-label", data.images[k].id);
    const near = this.metric.alike(k, node);
    const by = node < 0 ? "all parts together" : words(data.nodes[node].name);
    const tiles = make("div", "tiles");
    for (const i of near) {
      const tile = this.pictures.tile(i, node, labelOf(i), agreement(i, k));
      tile.append(button("look at it", () => this.choose(i, true), "jump"));
      if (this.explorer.comparable(k, i)) tile.append(button("why", () => this.explorer.go(k, i, node), "jump"));
      tiles.append(tile);
    }
    box.append(
      make("h3", "", data.images[k].id),
      big,
      make("p", "", this.describe(k)),
      make("p", "soft", `Most similar by ${by}:`),
      near.length ? tiles : make("p", "", "It shows nothing of this part."),
    );
    if (k < data.tests || this.explorer.ask)
      box.append(
        button(
          "Compare it with the first of the pair above",
          () => this.explorer.go(this.explorer.current.first, k),
          "jump",
        ),
      );
    $("chosen").replaceChildren(box);
    if (focus) $("chosen").focus({ preventScroll: window.innerWidth > 700 });
    this.markMap();
  }

  // ---- the map

  drawMap() {
    const places = this.places[this.by + 1];
    const high = places.reduce((most, v, at) => (at % 2 && v !== UNKNOWN ? Math.max(most, v) : most), 0);
    const svg = draw("svg", {
      viewBox: `-10 -10 320 ${20 + (300 * high) / 65534}`,
      role: "img",
      "aria-label":
        "Map of the images: those that are similar by the chosen part lie together; " +
        "the thumbnails lead to the same images",
    });
    this.points = new Map();
    data.images.forEach((about, k) => {
      const [x, y] = [places[2 * k], places[2 * k + 1]];
      if (x === undefined || x === UNKNOWN) return;
      const at = [(300 * x) / 65534, (300 * y) / 65534];
      const point = mark(MARKS[about.label % MARKS.length], ...at);
      point.setAttribute("class", `point l${about.label % MARKS.length}`);
      point.append(draw("title", {}, `${about.id}: ${labelOf(k)}`));
      point.addEventListener("click", () => this.choose(k, true));
      svg.append(point);
      this.points.set(k, point);
    });
    const key = make(
      "figcaption",
      "soft",
      "Where images lie by it (t-SNE): what is similar lies together, distances between heaps mean little. ",
    );
    labels.slice(0, MARKS.length).forEach((name, k) => {
      const box = draw("svg", { viewBox: "-6 -6 12 12", width: 12, height: 12, "aria-hidden": "true" });
      const point = mark(MARKS[k], 0, 0, 4);
      point.setAttribute("class", `point l${k}`);
      box.append(point);
      const item = make("span", "key");
      item.append(box, name);
      key.append(item);
    });
    if (labels.length > MARKS.length) key.append(` and ${labels.length - MARKS.length} more, which share these marks.`);
    $("map").replaceChildren(svg, key);
    this.markMap();
  }

  /** What is filtered away is pale; the chosen one is large. */
  markMap() {
    if (!this.points || !this.found) return;
    const shown = new Set(this.found);
    for (const [k, point] of this.points) {
      point.classList.toggle("pale", !shown.has(k));
      point.classList.toggle("here", k === this.image);
    }
  }
}

/** A mark around a point. */
function mark(kind, x, y, r = 2.6) {
  if (kind === "circle" || kind === "ring")
    return draw("circle", { cx: x, cy: y, r, ...(kind === "ring" ? { "fill-opacity": 0 } : {}) });
  const d = {
    square: `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}Z`,
    triangle: `M${x} ${y - 1.2 * r}L${x + 1.2 * r} ${y + r}H${x - 1.2 * r}Z`,
    diamond: `M${x} ${y - 1.3 * r}L${x + 1.3 * r} ${y}L${x} ${y + 1.3 * r}L${x - 1.3 * r} ${y}Z`,
    cross: `M${x - r} ${y - r}L${x + r} ${y + r}M${x + r} ${y - r}L${x - r} ${y + r}`,
  }[kind];
  return draw("path", { d });
}
