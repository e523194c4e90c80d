// The tree's metric over the page's test images, with any parts switched off, as heml.evaluation.tree_metric has it.

class Metric {
  constructor() {
    this.pairs = data.nodes.map((node) => numbers(node.pairs));
    this.near = data.nodes.map((node) => numbers(node.near));
    this.nearWhole = numbers(data.near);
    this.each = this.nearWhole.length / data.images.length;
    this.off = new Set(); // leaves
  }

  /** One more image, the last of `data.images`, by its nearest ones: of every node, and by the tree. */
  extend(near, nearWhole) {
    const longer = (old, found) =>
      Uint16Array.from([...old, ...Array.from({ length: this.each }, (_, k) => found[k] ?? UNKNOWN)]);
    this.near = this.near.map((old, node) => longer(old, near[node]));
    this.nearWhole = longer(this.nearWhole, nearWhole);
  }

  /** At a node, of two test images; null where one of them lacks it. */
  distance(node, i, j) {
    if (i === j) return 0;
    const [a, b] = i < j ? [i, j] : [j, i];
    const value = this.pairs[node][a * data.tests - (a * (a + 1)) / 2 + b - a - 1];
    return value === UNKNOWN ? null : (value / 65534) ** 2;
  }

  /** Whether a node sees a part that is switched off. */
  isOff(node) {
    return data.nodes[node].leaves.some((leaf) => this.off.has(leaf));
  }

  /** What nodes say of their distances. */
  evidence(distances) {
    return distances.map((d, k) =>
      d === null || this.isOff(k) ? 0 : data.nodes[k].slope * (data.nodes[k].threshold - d),
    );
  }

  /** The tree's distance of two test images, of the nodes that are on; a node that one lacks adds its threshold's. */
  apart(i, j) {
    let sum = 0;
    data.nodes.forEach((node, k) => {
      if (!node.weight || this.isOff(k)) return;
      const d = this.distance(k, i, j);
      sum += node.weight * (d === null ? node.threshold : d);
    });
    return sum;
  }

  /** Of every test image the nearest other ones. */
  nearest(most) {
    const on = data.nodes.map((node, k) => k).filter((k) => data.nodes[k].weight && !this.isOff(k));
    const n = data.tests;
    const sums = new Float64Array((n * (n - 1)) / 2);
    for (const k of on) {
      const { weight, threshold } = data.nodes[k];
      const row = this.pairs[k];
      for (let at = 0; at < sums.length; at++)
        sums[at] += weight * (row[at] === UNKNOWN ? threshold : (row[at] / 65534) ** 2);
    }
    const found = Array.from({ length: n }, () => []);
    let at = 0;
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++, at++) {
        keep(found[i], { image: j, key: sums[at] }, most);
        keep(found[j], { image: i, key: sums[at] }, most);
      }
    }
    return on.length ? found : found.map(() => []);
  }

  /** How many test images have a nearest other test image of their own label. */
  right(nearest) {
    return nearest.filter((near, i) => near.length && data.images[near[0].image].label === data.images[i].label).length;
  }

  /** The nearest of an image among those that it is searched in, by a node, or (−1) by the tree with all its parts. */
  alike(image, node) {
    const near = node < 0 ? this.nearWhole : this.near[node];
    return Array.from(near.slice(image * this.each, (image + 1) * this.each)).filter((i) => i !== UNKNOWN);
  }

  /** Share of test pairs that are at most this far apart at a node, percent. */
  percentile(node, distance) {
    const q = data.nodes[node].quantiles;
    if (distance === null || !q.length) return null;
    if (distance < q[0]) return 0;
    if (distance >= q[100]) return 100;
    let k = 0;
    while (q[k + 1] <= distance) k++;
    return k + (q[k + 1] > q[k] ? (distance - q[k]) / (q[k + 1] - q[k]) : 0);
  }
}
