// The page begins, and goes where its address says.

document.querySelectorAll("table.sortable").forEach(sortable);

/** The page at work, for whoever adds to it; nothing where there are no two test images. */
const started = start();

/** `#pair=a,b&node=n`, `#node=n`: numbers of images and node, as far as they are there. */
function addressed() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const ids =
    location.hash
      .match(/pair=([^&]*)/)?.[1]
      .split(",")
      .map(decodeURIComponent) || [];
  const images = ids.map((id) => data.images.findIndex((image) => image.id === id));
  const shown = ([a, b]) =>
    Math.max(a, b) < data.tests || data.listed.some((p) => p.first === a && p.second === b);
  return {
    pair: images.length === 2 && images.every((i) => i >= 0) && shown(images) ? images : null,
    node: data.nodes.findIndex((node) => node.name === asked.get("node")),
  };
}

async function start() {
  if (data.tests < 2) return;
  const pictures = new Pictures(await picture(data.sheet));
  const metric = new Metric();
  const explorer = new Explorer(metric, pictures);
  const gallery = new Gallery(metric, pictures, explorer);
  await explorer.show(data.listed.length ? data.listed[0] : explorer.pair(0, 1));
  await gallery.choose(explorer.current.first);
  const follow = () => {
    const { pair, node } = addressed();
    if (pair) explorer.go(...pair, node);
    else if (node >= 0) {
      explorer.select(node);
      $("tree").scrollIntoView({ block: "start" });
      $("panel-pair").focus({ preventScroll: true });
    }
  };
  window.addEventListener("hashchange", follow);
  follow();
  return { metric, pictures, explorer, gallery };
}
