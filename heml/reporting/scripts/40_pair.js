// A pair of test images: two photographs, one sentence, the tree beneath, and what it would say without some parts.

const DOWN = 136; // between levels, pixels
const NARROW = "(max-width: 700px)"; // a tree is a list there, indented

class Explorer {
  constructor(metric, pictures) {
    this.metric = metric;
    this.pictures = pictures;
    this.parent = data.nodes.map(() => -1);
    data.nodes.forEach((node, k) => node.children.forEach((child) => (this.parent[child] = k)));
    this.leafNode = data.leaves.map((_, leaf) =>
      data.nodes.findIndex((node) => !node.children.length && node.leaves.includes(leaf)),
    );
    this.node = 0;
    this.buttons = [];
    this.edges = [];
    this.past = []; // what was switched off before
    this.ask = null; // whoever explains any two images: a server behind the page, if there is one
    this.turn = 0; // the last pair that was asked for is shown
    this.layOut();
    window.matchMedia(NARROW).addEventListener("change", () => {
      this.layOut();
      this.drawTree();
      this.select(this.node);
    });
    this.fillControls();
    this.fillParts();
    $("explorer").hidden = false;
  }

  // ---- the pair

  /** Whether the page can show two images as a pair. */
  comparable(first, second) {
    return first !== second && (this.ask !== null || (first < data.tests && second < data.tests));
  }

  /** Any two test images; what parts say by exchange is known of listed pairs alone. */
  pair(first, second) {
    const listed = data.listed.find((p) => p.first === first && p.second === second);
    if (listed) return listed;
    const turned = data.listed.find((p) => p.first === second && p.second === first); // all but the change is symmetric
    if (turned) return { ...turned, first, second, change: null };
    const distance = data.nodes.map((_, k) => this.metric.distance(k, first, second));
    const share = data.nodes.map(() => null);
    return { first, second, kind: "other", distance, share, change: null };
  }

  /** The answer in words, as `heml explain` has it, but by the evidence of the leaves alone. */
  sentence(evidence, logOdds) {
    const side = logOdds > 0 ? 1 : -1;
    const leaves = data.nodes
      .map((node, k) => [k, side * evidence[k]])
      .filter(([k, e]) => !data.nodes[k].children.length && e > 0);
    if (evidence.every((e) => e === 0)) return "Nothing is left to compare.";
    if (!leaves.length) return `${decision(logOdds)}, by its parts together.`;
    const [best, most] = leaves.reduce((a, b) => (b[1] > a[1] ? b : a));
    const part = most / leaves.reduce((sum, [, e]) => sum + e, 0);
    const how = part > 0.5 ? "mostly because of" : "above all because of";
    const name = words(data.nodes[best].name);
    const what = `the evidence ${side > 0 ? "for" : "against"} it`;
    return `${decision(logOdds)}, by the parts' own nodes ${how} ${name}: ${(100 * part).toFixed(0)} % of ${what}.`;
  }

  /** Evidence of a node and all below it. */
  subtree(k) {
    return data.nodes[k].children.reduce((sum, child) => sum + this.subtree(child), this.evidence[k]);
  }

  async show(pair, focus) {
    const turn = ++this.turn;
    await this.pictures.load(pair.first, pair.second);
    if (turn !== this.turn) return;
    this.current = pair;
    for (const [id, image] of [
      ["first", pair.first],
      ["second", pair.second],
    ]) {
      $(id).value = image;
      if ($(id).selectedIndex < 0) $(id).value = ""; // not among the choices
    }
    $("link").disabled = !this.addressable(pair.first, pair.second);
    $("listed").value = String(data.listed.indexOf(pair));
    this.weigh();
    this.drawPhotos();
    this.drawTree();
    this.tellPair();
    this.select(this.node);
    if (focus) {
      $("verdict").scrollIntoView({ block: "center" });
      $("verdict").focus({ preventScroll: true });
    }
  }

  /** Evidence of the pair with what is switched on. */
  weigh() {
    const pair = this.current;
    const all = pair.evidence || this.metric.evidence(pair.distance);
    this.evidence = all.map((e, k) => (this.metric.isOff(k) ? 0 : e));
    this.logOdds = this.evidence.reduce((sum, e) => sum + e, 0);
  }

  /** Whether what parts say was measured by exchange, and holds: of listed pairs, with nothing switched off. */
  measured() {
    return !this.metric.off.size && this.leafNode.some((k) => k >= 0 && this.current.share[k] !== null);
  }

  /** What a part says: at all nodes that hold it where that was measured, else at its own. */
  partSays(leaf) {
    const k = this.leafNode[leaf];
    if (k < 0 || this.metric.off.has(leaf)) return 0;
    const share = this.current.share[k];
    return share === null || !this.measured() ? this.evidence[k] : share;
  }

  /** What every part says, the most first, as bars and numbers. */
  said() {
    const box = make("div", "said");
    box.append(make("h3", "", "What each part says"));
    const rule = this.measured()
      ? "at all nodes that see it, found by exchanging it between the two"
      : "at its own node alone; at the nodes above, parts say more together";
    box.append(make("p", "soft", rule));
    const parts = data.leaves
      .map((name, leaf) => ({ name: words(name), leaf, says: this.partSays(leaf) }))
      .filter(({ leaf }) => this.leafNode[leaf] >= 0)
      .sort((a, b) => Math.abs(b.says) - Math.abs(a.says));
    const most = Math.max(NOTHING, ...parts.map(({ says }) => Math.abs(says)));
    const list = make("ul");
    for (const { name, leaf, says } of parts) {
      const item = make("li");
      const bar = make("span", `weighs ${says > 0 ? "for" : "against"}`);
      bar.setAttribute("aria-hidden", "true");
      bar.style.width = `${(6 * Math.abs(says)) / most}rem`;
      const told = this.metric.off.has(leaf) ? "off" : signed(says);
      item.append(make("span", "name", name), make("span", "amount", told));
      if (Math.abs(says) >= NOTHING) item.append(bar);
      list.append(item);
    }
    box.append(list);
    return box;
  }

  // ---- photographs

  drawPhotos() {
    const { first, second } = this.current;
    $("photos").replaceChildren(this.photo(first), this.photo(second), this.said());
  }

  photo(image) {
    const [w, h] = data.grid;
    const svg = draw("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": this.describe(image) });
    svg.append(
      draw("image", { href: data.photos[image] || this.cut(image), width: w, height: h, preserveAspectRatio: "none" }),
    );
    data.leaves.forEach((name, leaf) => {
      const d = this.pictures.path(image, leaf);
      if (!d) return;
      const says = this.partSays(leaf);
      const silent = Math.abs(says) < NOTHING;
      const kind = this.metric.off.has(leaf) ? "off" : silent ? "silent" : says > 0 ? "alike" : "apart";
      const path = draw("path", { d, class: `part ${kind}`, "fill-rule": "evenodd" });
      path.style.fill = kind === "off" || kind === "silent" ? "transparent" : shade(says);
      path.append(draw("title", {}, `${words(name)}: ${kind === "off" ? "switched off" : signed(says)}`));
      path.addEventListener("click", () => this.leafNode[leaf] >= 0 && this.select(this.leafNode[leaf], true));
      svg.append(path);
    });
    const figure = make("figure", "photo");
    const about = data.images[image];
    figure.append(svg, make("figcaption", "", `${about.id} (${labelOf(image)})`));
    return figure;
  }

  /** A thumbnail as a picture of its own, of an image that has no photograph here. */
  cut(image) {
    return this.pictures.draw(image, -1, 256).toDataURL("image/png");
  }

  describe(image) {
    const said = data.leaves
      .map((name, leaf) => [words(name), this.partSays(leaf)])
      .filter(([, says], leaf) => says !== 0 && this.pictures.path(image, leaf))
      .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))
      .slice(0, 4)
      .map(([name, says]) => `${name} ${signed(says)}`);
    return `${data.images[image].id}, its parts by what they say: ${said.join(", ") || "nothing"}`;
  }

  // ---- the tree

  layOut() {
    const top = Math.max(...data.nodes.map((node) => node.y));
    const leaves = Math.max(...data.nodes.map((node) => node.x)) + 1;
    const stage = $("stage");
    stage.replaceChildren();
    const room = document.querySelector("main").clientWidth - 30;
    const across = Math.min(150, Math.max(76, Math.floor(room / leaves))); // as wide as there is room
    this.narrow = window.matchMedia(NARROW).matches;
    this.side = this.narrow ? 56 : Math.floor((across - 18) / 2);
    stage.classList.toggle("indented", this.narrow);
    const [width, height] = [leaves * across, (top + 1) * DOWN];
    stage.style.width = this.narrow ? "" : `${width}px`;
    stage.style.height = this.narrow ? "" : `${height}px`;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    stage.append(svg);
    data.nodes.forEach((node, k) => {
      const [x, y] = [(node.x + 0.5) * across, (top - node.y) * DOWN + 6];
      if (this.parent[k] >= 0) {
        const above = data.nodes[this.parent[k]];
        const [px, py] = [(above.x + 0.5) * across, (top - above.y) * DOWN + 60];
        this.edges[k] = draw("path", { d: `M${px} ${py}V${(top - above.y + 1) * DOWN - 12}H${x}V${y + 10}` });
        svg.append(this.edges[k]);
      }
      const found = button("", () => this.select(k, true), "node");
      found.style.width = this.narrow ? "auto" : `${across - 6}px`;
      if (this.narrow) found.style.marginLeft = `${this.depth(k) * 0.9}rem`;
      else [found.style.left, found.style.top] = [`${x}px`, `${y}px`];
      found.addEventListener("keydown", (event) => this.move(event, k));
      stage.append(found);
      this.buttons[k] = found;
    });
  }

  depth(k) {
    return this.parent[k] < 0 ? 0 : 1 + this.depth(this.parent[k]);
  }

  /**
   * Arrow keys: up to the parent, down to the first child, left and right along the level; Home to the root, End to the
   * last leaf.
   */
  move(event, k) {
    const level = data.nodes.map((_, i) => i).filter((i) => data.nodes[i].y === data.nodes[k].y);
    level.sort((a, b) => data.nodes[a].x - data.nodes[b].x);
    const at = level.indexOf(k);
    const last = data.nodes.reduce((best, node, i) => (node.x > data.nodes[best].x ? i : best), 0);
    const to = {
      ArrowUp: this.parent[k],
      ArrowDown: data.nodes[k].children[0],
      ArrowLeft: level[at - 1],
      ArrowRight: level[at + 1],
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined || to < 0) return;
    event.preventDefault();
    this.roam(to);
    this.buttons[to].focus();
  }

  /** The one node that Tab stops at. */
  roam(k) {
    this.buttons.forEach((found, i) => (found.tabIndex = i === k ? 0 : -1));
  }

  drawTree() {
    const pair = this.current;
    data.nodes.forEach((node, k) => {
      const off = this.metric.isOff(k);
      const pictures = make("span", "pictures");
      pictures.append(this.pictures.draw(pair.first, k, this.side), this.pictures.draw(pair.second, k, this.side));
      const text = off ? "off" : pair.distance[k] === null ? "absent" : signed(this.evidence[k]);
      const speck = !off && pair.distance[k] !== null && this.specks(k).length;
      const chip = make("span", "chip", speck ? `${text} (speck)` : text);
      if (!off && this.evidence[k] !== 0) chip.style.background = shade(this.evidence[k]);
      this.buttons[k].replaceChildren(make("span", "name", words(node.name)), pictures, chip);
      this.buttons[k].setAttribute("aria-label", this.words(k));
      this.buttons[k].classList.toggle("off", off);
      if (this.edges[k]) {
        const sum = this.subtree(k);
        this.edges[k].setAttribute("class", sum > 0 ? "alike" : sum < 0 ? "apart" : "");
        this.edges[k].style.strokeWidth = 1 + 10 * Math.min(Math.abs(sum) / data.fullEdge, 1);
      }
    });
  }

  /** A node of the pair in words. */
  words(k) {
    const pair = this.current;
    const d = pair.distance[k];
    const name = words(data.nodes[k].name);
    if (this.metric.isOff(k)) return `${name}: switched off`;
    if (d === null) return `${name}: ${this.absence(k)}, so it says nothing`;
    const e = this.evidence[k];
    const parts = [
      e ? `${name}: ${signed(e)} ${e > 0 ? "for" : "against"} one label` : `${name}: says nothing`,
      `distance ${digits(d)}`,
    ];
    const rank = this.metric.percentile(k, d);
    if (rank !== null) parts.push(`closer than ${(100 - rank).toFixed(0)} % of pairs`);
    const speck = this.specks(k);
    if (speck.length) {
      const of = speck.map((i) => data.images[i].id).join(" and ");
      const pixels = Math.min(...speck.map((i) => this.pixels(i, k)));
      parts.push(`but of ${of} it sees ${pixels} pixels: too small to be told apart`);
    }
    if (data.nodes[k].children.length) parts.push(`with all below it ${signed(this.subtree(k))}`);
    else if (pair.share[k] !== null && !this.metric.off.size)
      parts.push(`at all nodes that see it ${signed(pair.share[k])}`);
    return parts.join(", ");
  }

  absence(k) {
    const there = [this.current.first, this.current.second].map((image) => this.pixels(image, k) > 0);
    return there[0] ? "absent in the second" : there[1] ? "absent in the first" : "absent in both";
  }

  /** Images of the pair of which a node sees next to nothing. */
  specks(k) {
    return [this.current.first, this.current.second].filter((image) => this.pixels(image, k) <= data.speck);
  }

  /** Canvas pixels that a node sees of an image. */
  pixels(image, k) {
    return data.nodes[k].leaves.reduce((sum, leaf) => sum + data.pixels[image][leaf], 0);
  }

  tellPair() {
    const pair = this.current;
    const [a, b] = [data.images[pair.first], data.images[pair.second]];
    const alike = agreement(pair.first, pair.second);
    const wrong = alike && this.logOdds > 0 !== (alike === "right");
    const truth = alike
      ? ` ${a.id} is ${labelOf(pair.first)}, ${b.id} is ${labelOf(pair.second)}${wrong ? ": the tree is wrong" : ""}.`
      : "";
    const all = pair.sentence && !this.metric.off.size;
    $("verdict").textContent = `${all ? pair.sentence : this.sentence(this.evidence, this.logOdds)}${truth}`;
    tell($("verdict").textContent);
    const change = $("change");
    change.replaceChildren();
    if (pair.change && !this.metric.off.size) {
      const image = make("img");
      image.src = pair.change.picture;
      const told = pair.change.logOdds > 0 ? "same" : "different";
      const parts = enumerated(pair.change.segments);
      image.alt = `${a.id} with the ${parts} of ${pair.change.donor}`;
      const text =
        `What would have to change: with the ${parts} of ${pair.change.donor}, ${a.id} and ${b.id} would be ` +
        `${told} (${certainty(pair.change.logOdds)} %).`;
      change.append(image, make("p", "", text));
    }
  }

  // ---- the chosen node

  select(k, focus) {
    this.node = k;
    this.roam(k);
    this.buttons.forEach((found, i) => found.setAttribute("aria-pressed", String(i === k)));
    const node = data.nodes[k];
    const name = words(node.name);
    $("panel-pair").replaceChildren(make("h4", "", name), this.pairPanel(k));
    $("panel-near").replaceChildren(
      make("h4", "", `Most similar ${data.searched} images by ${name}`),
      ...this.nearPanels(k),
    );
    $("panel-curve").replaceChildren(
      make("h4", "", "Score and learning curve"),
      this.scorePanel(node),
      this.curve(node),
    );
    $("panel-worst").replaceChildren(make("h4", "", `Worst pairs by ${name}`), this.worstPanel(k));
    if (focus) tell(this.words(k));
  }

  pairPanel(k) {
    const { first, second } = this.current;
    const box = make("div");
    const tiles = make("div", "tiles large");
    for (const image of [first, second]) {
      const figure = make("figure", "tile");
      const canvas = this.pictures.draw(image, k, 150);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${words(data.nodes[k].name)} of ${data.images[image].id}`);
      figure.append(canvas, make("figcaption", "", data.images[image].id), make("div", "soft", labelOf(image)));
      tiles.append(figure);
    }
    box.append(tiles, make("p", "", this.words(k)));
    const node = data.nodes[k];
    if (node.slope)
      box.append(
        make(
          "p",
          "soft",
          `A distance of ${node.threshold.toPrecision(2)} says nothing; ` +
            `its weight in the tree's distance is ${(100 * node.weight).toFixed(1)} %.`,
        ),
      );
    else box.append(make("p", "soft", "It has no part in the tree's answer."));
    return box;
  }

  nearPanels(k) {
    return [this.current.first, this.current.second].map((image) => {
      const box = make("div");
      const own = data.images[image];
      box.append(make("p", "soft", `of ${own.id} (${labelOf(image)})`));
      const found = this.metric.alike(image, k);
      if (!found.length) {
        box.append(make("p", "", "It shows nothing of this node."));
        return box;
      }
      const tiles = make("div", "tiles");
      for (const i of found) tiles.append(this.pictures.tile(i, k, labelOf(i), agreement(i, image)));
      box.append(tiles);
      return box;
    });
  }

  scorePanel(node) {
    const s = node.scores;
    const limit = s.limit === null ? "" : `, at best ${percent(s.limit)}`;
    const loses =
      s.tree_loses === null
        ? ""
        : ` Without it the tree's own loses ${percent(s.tree_loses).replace("-", "−")} points.`;
    return make(
      "p",
      "",
      `Right for ${percent(s["p@1"])} % of the test images that show it ` +
        `(P@1, ${percent(s["p@1_low"])} to ${percent(s["p@1_high"])}); ` +
        `by chance ${percent(s.chance)}, by the commonest label ${percent(s.majority)}${limit}; ` +
        `present in ${percent(s.coverage)} %. Pairs: AUC ${percent(s.auc)} (chance 50).${loses}`,
    );
  }

  curve(node) {
    const rows = node.curve.filter((row) => row[1] !== null);
    if (!rows.length)
      return make(
        "p",
        "soft",
        "No learning curve: P@1 on val was not measured, or no validation image shows this node.",
      );
    const svg = draw("svg", {
      viewBox: "0 0 300 120",
      role: "img",
      "aria-label": "P@1 on val over the epochs: " + rows.map((row) => row[1].toFixed(2)).join(", "),
    });
    const last = Math.max(1, rows[rows.length - 1][0]);
    const points = rows.map((row) => `${28 + (row[0] / last) * 262} ${100 - row[1] * 90}`);
    for (const [d, colour] of [
      ["M28 10V100H290", "var(--line)"],
      ["M" + points.join("L"), "var(--bar)"],
    ]) {
      const path = draw("path", { d });
      path.style.stroke = colour;
      svg.append(path);
    }
    for (const [x, y, text] of [
      [16, 14, "1"],
      [16, 104, "0"],
      [160, 116, `P@1 on val by epoch (0 to ${last})`],
    ])
      svg.append(draw("text", { x, y }, text));
    return svg;
  }

  /** Test pairs that the node is most wrong about: alike with different labels, unlike with the same. */
  worstPanel(k) {
    const found = { alike: [], unlike: [] };
    for (let i = 0; i < data.tests; i++) {
      for (let j = i + 1; j < data.tests; j++) {
        const d = this.metric.distance(k, i, j);
        if (d === null || Math.min(this.pixels(i, k), this.pixels(j, k)) <= data.speck) continue;
        if (data.images[i].label === data.images[j].label) keep(found.unlike, { i, j, d, key: -d }, 4);
        else keep(found.alike, { i, j, d, key: d }, 4);
      }
    }
    const box = make("div");
    for (const [kind, title] of [
      ["alike", "Close, but of different labels"],
      ["unlike", "Far apart, but of the same label"],
    ]) {
      box.append(make("p", "soft", title));
      const list = make("ul", "worst");
      for (const { i, j, d } of found[kind]) {
        const item = make("li");
        item.append(button(`${data.images[i].id} and ${data.images[j].id}: ${digits(d)}`, () => this.go(i, j), "jump"));
        list.append(item);
      }
      box.append(found[kind].length ? list : make("p", "", "None."));
    }
    return box;
  }

  // ---- parts switched off

  fillParts() {
    data.leaves.forEach((name, leaf) => {
      const label = make("label", "toggle");
      const box = make("input");
      box.type = "checkbox";
      box.addEventListener("change", () => {
        const off = new Set(this.metric.off);
        if (box.checked) off.add(leaf);
        else off.delete(leaf);
        this.switchOff(off);
      });
      label.append(box, words(name));
      $("parts").append(label);
    });
    $("undo").addEventListener("click", () => this.past.length && this.switchOff(this.past.pop(), true));
    $("all").addEventListener("click", () => this.switchOff(new Set()));
    this.whole = this.metric.nearest(1);
  }

  switchOff(off, back) {
    if (!back) this.past.push(this.metric.off);
    this.metric.off = off;
    [...$("parts").querySelectorAll("input")].forEach((box, leaf) => (box.checked = off.has(leaf)));
    $("undo").disabled = !this.past.length;
    $("all").disabled = !off.size;
    const before = (this.current.evidence || this.plainEvidence()).reduce((sum, e) => sum + e, 0);
    this.weigh();
    this.drawPhotos();
    this.drawTree();
    this.tellPair();
    this.select(this.node);
    this.tellSwitched(before);
  }

  plainEvidence() {
    return this.current.distance.map((d, k) => (d === null ? 0 : data.nodes[k].slope * (data.nodes[k].threshold - d)));
  }

  tellSwitched(before) {
    const out = $("whatif");
    const box = $("switched");
    box.replaceChildren();
    if (!this.metric.off.size) {
      out.textContent = "All parts are on.";
      tell(out.textContent);
      return;
    }
    const near = this.metric.nearest(4);
    const [was, is] = [this.metric.right(this.whole), this.metric.right(near)];
    const moved = near.filter((found, i) => (found.length ? found[0].image : -1) !== this.whole[i][0].image).length;
    const names = enumerated([...this.metric.off].map((leaf) => words(data.leaves[leaf])));
    const now = judged(this.logOdds);
    const pair = judged(before) === now ? `still ${now}` : `${now} instead of ${judged(before)}`;
    if (this.metric.off.size === data.leaves.length) {
      out.textContent = "Nothing is left to compare: every part is switched off.";
      tell(out.textContent);
      return;
    }
    out.textContent =
      `Without ${names}: these two are ${pair}. Of the ${data.tests} test images here, ${is} instead of ${was} have ` +
      `a most similar other test image of their own label; for ${moved} it is another image than before.`;
    tell(out.textContent);
    for (const image of [this.current.first, this.current.second]) {
      if (image >= data.tests) continue;
      const tiles = make("div", "tiles");
      for (const { image: i } of near[image]) tiles.append(this.pictures.tile(i, -1, labelOf(i), agreement(i, image)));
      box.append(
        make("p", "soft", `Most similar to ${data.images[image].id} now, among the test images here:`),
        near[image].length ? tiles : make("p", "", "None: nothing is left to compare."),
      );
    }
    box.append(
      make(
        "p",
        "soft",
        `As metric: {off: [${[...this.metric.off].map((leaf) => data.leaves[leaf]).join(", ")}]} in params.yaml, ` +
          "but for the weights, which are fitted anew there.",
      ),
    );
  }

  // ---- controls

  /** Whether a link leads to a pair: of two test images, or listed. */
  addressable(first, second) {
    return Math.max(first, second) < data.tests || data.listed.includes(this.pair(first, second));
  }

  /** Show two images, say so in the address where a link leads to them, and go there. */
  go(first, second, node) {
    if (node !== undefined && node >= 0) this.node = node;
    if (this.addressable(first, second)) history.replaceState(null, "", this.address(first, second));
    return this.meet(first, second, true);
  }

  /** Show two images as a pair, by whoever knows most of them. */
  async meet(first, second, focus) {
    const turn = ++this.turn;
    const pair = this.ask === null ? this.pair(first, second) : await this.ask(first, second);
    if (pair && turn === this.turn) await this.show(pair, focus);
  }

  address(first, second) {
    const names = [first, second].map((i) => encodeURIComponent(data.images[i].id)).join(",");
    return `#pair=${names}&node=${encodeURIComponent(data.nodes[this.node].name)}`;
  }

  fillControls() {
    const listed = $("listed");
    listed.append(new Option("any two test images (right)", "-1"));
    const names = {
      mistake: "Mistakes: a test image and what it was taken for",
      telling: "Surprises: alike but for a part, unlike but for a part",
    };
    for (const kind of Object.keys(names)) {
      const group = document.createElement("optgroup");
      group.label = names[kind];
      data.listed.forEach((pair, k) => {
        if (pair.kind === kind)
          group.append(new Option(`${data.images[pair.first].id} and ${data.images[pair.second].id}`, k));
      });
      if (group.children.length) listed.append(group);
    }
    for (const id of ["first", "second"]) {
      const select = $(id);
      for (let i = 0; i < data.tests; i++) select.append(new Option(`${data.images[i].id} (${labelOf(i)})`, i));
      select.addEventListener("change", () => {
        if ($("first").value !== "" && $("second").value !== "")
          this.meet(Number($("first").value), Number($("second").value));
      });
    }
    listed.addEventListener("change", () => {
      if (listed.value !== "-1") this.show(data.listed[Number(listed.value)]);
    });
    $("random").addEventListener("click", () => {
      const i = Math.floor(Math.random() * data.tests);
      const j = (i + 1 + Math.floor(Math.random() * (data.tests - 1))) % data.tests;
      this.meet(i, j);
    });
    $("link").addEventListener("click", async () => {
      const { first, second } = this.current;
      const address = location.href.replace(/#.*/, "") + this.address(first, second);
      history.replaceState(null, "", this.address(first, second));
      tell(
        (await clip(() => navigator.clipboard.writeText(address)))
          ? "The link is copied."
          : "The link stands in the address bar.",
      );
    });
    $("copy").addEventListener("click", async () => {
      const picture = this.card();
      const done = await clip(() => navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]));
      tell(done ? "The picture is copied." : "This browser does not copy pictures from a file: save it instead.");
      if (!done) download(await picture, "pair.png");
    });
    $("save").addEventListener("click", async () => download(await this.card(), "pair.png"));
  }

  /** The pair as a picture: photographs, sentence and what every part says. */
  async card() {
    const { first, second } = this.current;
    const [w, h] = data.grid;
    const side = 320;
    const [pw, ph] = [(side * w) / Math.max(w, h), (side * h) / Math.max(w, h)];
    const parts = data.leaves
      .map((name, leaf) => [words(name), this.partSays(leaf)])
      .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const lines = wrapped($("verdict").textContent, 92);
    const canvas = make("canvas");
    [canvas.width, canvas.height] = [720, Math.ceil(ph + 70 + 22 * lines.length + 22 * Math.ceil(parts.length / 3))];
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const [k, image] of [first, second].entries()) {
      const left = 24 + k * 352;
      const [source, x, y, sw, sh] = this.pictures.source(image);
      context.drawImage(source, x, y, sw, sh, left, 20, pw, ph);
      data.leaves.forEach((_, leaf) => {
        const says = this.partSays(leaf);
        const d = this.pictures.path(image, leaf);
        if (!d || says === 0) return;
        context.save();
        context.translate(left, 20);
        context.scale(pw / w, ph / h);
        const path = new Path2D(d);
        context.globalAlpha = 0.4;
        context.fillStyle = shade(says);
        context.fill(path, "evenodd");
        context.globalAlpha = 1;
        context.strokeStyle = says > 0 ? "#2166ac" : "#b2182b";
        context.setLineDash(says > 0 ? [] : [6, 4]);
        context.lineWidth = 1.6;
        context.stroke(path);
        context.restore();
      });
    }
    context.fillStyle = "#1d2330";
    context.font = "15px system-ui, sans-serif";
    lines.forEach((line, k) => context.fillText(line, 24, ph + 46 + 22 * k));
    context.font = "13px system-ui, sans-serif";
    parts.forEach(([name, says], k) =>
      context.fillText(
        `${name} ${signed(says)}`,
        24 + (k % 3) * 230,
        ph + 60 + 22 * lines.length + 22 * Math.floor(k / 3),
      ),
    );
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}

async function clip(write) {
  try {
    await write();
    return true;
  } catch {
    return false;
  }
}

function download(blob, name) {
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function wrapped(text, width) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if ((lines[lines.length - 1] + word).length > width) lines.push("");
    lines[lines.length - 1] += `${word} `;
  }
  return lines;
}
