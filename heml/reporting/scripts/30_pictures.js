// Photographs and thumbnails, and the parts in them: outlines on a grid, filled and drawn at any size.

class Pictures {
  constructor(sheet) {
    this.sheet = sheet;
    this.photos = new Map();
    this.paths = new Map();
  }

  /** Have photographs at hand, of images that have one here: test images, and those of listed pairs. */
  async load(...images) {
    await Promise.all(
      images
        .filter((i) => data.photos[i] && !this.photos.has(i))
        .map((i) => picture(data.photos[i]).then((photo) => this.photos.set(i, photo))),
    );
  }

  /** An SVG path of a part's outline; nothing where it is absent. */
  path(image, leaf) {
    const key = image * data.leaves.length + leaf;
    if (!this.paths.has(key)) {
      const ring = bytes(data.outlines[image][leaf]);
      const parts = [];
      for (let at = 0; at < ring.length; at += 1 + 2 * ring[at]) {
        const corners = [];
        for (let k = 0; k < ring[at]; k++) corners.push(`${ring[at + 1 + 2 * k]} ${ring[at + 2 + 2 * k]}`);
        parts.push(`M${corners.join("L")}Z`);
      }
      this.paths.set(key, parts.join(""));
    }
    return this.paths.get(key);
  }

  /** Where an image lies: the photograph, or its place in the sheet. */
  source(image) {
    if (this.photos.has(image)) {
      const photo = this.photos.get(image);
      return [photo, 0, 0, photo.naturalWidth, photo.naturalHeight];
    }
    const [w, h] = data.tile;
    return [this.sheet, (image % data.across) * w, Math.floor(image / data.across) * h, w, h];
  }

  /** What a node (or, for −1, the whole) sees of an image, on a canvas `side` long; the rest is pale. */
  draw(image, node, side) {
    const [gw, gh] = data.grid;
    const [x0, y0, x1, y1] = node < 0 ? [0, 0, gw, gh] : data.nodes[node].box;
    const zoom = side / Math.max(x1 - x0, y1 - y0);
    const dense = Math.min(window.devicePixelRatio || 1, 2);
    const canvas = make("canvas");
    canvas.width = Math.max(1, Math.round((x1 - x0) * zoom * dense));
    canvas.height = Math.max(1, Math.round((y1 - y0) * zoom * dense));
    canvas.style.width = `${canvas.width / dense}px`;
    canvas.style.height = `${canvas.height / dense}px`;
    const context = canvas.getContext("2d");
    context.setTransform(zoom * dense, 0, 0, zoom * dense, -x0 * zoom * dense, -y0 * zoom * dense);
    const [source, left, top, width, height] = this.source(image);
    const paint = () => context.drawImage(source, left, top, width, height, 0, 0, gw, gh);
    if (node < 0) {
      paint();
      return canvas;
    }
    context.globalAlpha = 0.15;
    paint();
    context.globalAlpha = 1;
    for (const leaf of data.nodes[node].leaves) {
      context.save();
      context.clip(new Path2D(this.path(image, leaf)), "evenodd");
      paint();
      context.restore();
    }
    return canvas;
  }

  /** A picture with its id and a note; `verdict` is `right` or `wrong`, which a mark says too. */
  tile(image, node, note, verdict) {
    const figure = make("figure", "tile " + (verdict || ""));
    const canvas = this.draw(image, node, 84);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", data.images[image].id);
    const mark = verdict ? (verdict === "right" ? "✓ " : "✗ ") : "";
    figure.append(canvas, make("figcaption", "", data.images[image].id), make("div", "soft", mark + note));
    return figure;
  }
}

function picture(uri) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = reject;
    image.src = uri;
  });
}
