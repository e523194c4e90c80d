// The panel in front of a served page: two photographs, from files or from the gallery, and what the server behind it
// says of them.

class Desk {
  constructor({ metric, pictures, explorer, gallery }) {
    Object.assign(this, { metric, pictures, explorer, gallery });
    this.numbers = new Map(); // an image of this page → its number at the server, of photographs that it holds
    this.slots = [...document.querySelectorAll(".slot")].map((box, k) => new Slot(box, k, this));
    explorer.ask = (first, second) => this.explain(first, second);
    $("gallery-ids").append(...data.images.map((image) => new Option(image.id)));
    gallery.choose(gallery.image); // what can be compared now has a button
    $("desk").hidden = false;
    this.takeDrops();
  }

  tell(text, wrong) {
    $("desk-told").textContent = text;
    $("desk-told").classList.toggle("wrong", Boolean(wrong));
  }

  /** Files that are dropped beside a slot are meant as well; without this the browser would leave the page for them. */
  takeDrops() {
    const over = (slot) => this.slots.forEach((other) => other.box.classList.toggle("over", other === slot));
    const under = (event) => this.slots.find((slot) => slot.box.contains(event.target)) || this.free();
    window.addEventListener("dragover", (event) => {
      event.preventDefault();
      over(under(event));
    });
    window.addEventListener("dragleave", (event) => event.relatedTarget || over(null));
    window.addEventListener("drop", (event) => {
      event.preventDefault();
      over(null);
      this.take(event.dataTransfer.files, under(event));
    });
  }

  free() {
    return this.slots.find((slot) => slot.image === null) || this.slots[1];
  }

  /** Up to two files: one for the slot, one for the other. */
  async take(files, slot) {
    if (!files.length) return;
    if (!slot.file) {
      this.tell("This run cannot find its parts in new photographs: choose images of the gallery.", true);
      return;
    }
    const [first, second] = files;
    const wanted = second
      ? [
          [first, this.slots[0]],
          [second, this.slots[1]],
        ]
      : [[first, slot]];
    const faults = files.length > 2 ? ["Two at a time: the others were left."] : [];
    for (const [file, to] of wanted) {
      this.tell(`Looking at ${file.name} …`);
      try {
        to.hold(await this.add(file));
      } catch (error) {
        faults.push(error.message);
      }
    }
    this.tell(faults.join(" "), true);
    await this.meet();
  }

  /** Have a photograph segmented and embedded, and make it an image of this page. */
  async add(file) {
    const most = Number($("desk").dataset.mostBytes);
    if (file.size > most) throw new Error(`${file.name}: is larger than ${most / 1e6} MB; save it smaller.`);
    const found = await post("images", { name: file.name }, file);
    const image = data.images.length;
    data.images.push(found.image);
    data.photos[image] = found.photo;
    data.outlines.push(found.outlines);
    data.pixels.push(found.pixels);
    this.metric.extend(found.near, found.nearWhole);
    for (const [known, number] of this.numbers) if (!found.held.includes(number)) this.forget(known);
    this.numbers.set(image, found.number);
    await this.pictures.load(image);
    for (const id of ["first", "second"]) $(id).append(new Option(`${found.image.id} (${found.image.split})`, image));
    const split = $("of-split");
    if (![...split.options].some((option) => option.value === found.image.split))
      split.append(new Option(found.image.split, found.image.split));
    this.gallery.list();
    return image;
  }

  /** The server no longer holds a photograph; the page still shows what it was told. */
  forget(image) {
    this.numbers.delete(image);
    for (const id of ["first", "second"]) [...$(id).options].find((option) => option.value === String(image))?.remove();
    this.slots.forEach((slot) => slot.image === image && slot.clear());
  }

  async meet() {
    const [first, second] = this.slots.map((slot) => slot.image);
    if (first !== null && second !== null) await this.explorer.go(first, second);
  }

  /** A pair as the page has those that it lists; null where it cannot be had. */
  async explain(first, second) {
    const listed = data.listed.find((pair) => pair.first === first && pair.second === second);
    if (listed) return listed;
    try {
      const [a, b] = [first, second].map((image) => this.number(image));
      return { ...(await post("pair", { first: a, second: b })), first, second, kind: "other" };
    } catch (error) {
      this.tell(error.message, true);
      return Math.max(first, second) < data.tests ? this.explorer.pair(first, second) : null;
    }
  }

  number(image) {
    if (image < this.gallery.stored) return image;
    if (!this.numbers.has(image))
      throw new Error(`${data.images[image].id}: the server no longer holds it; choose its file again.`);
    return this.numbers.get(image);
  }
}

/** One of the two: a photograph or an image of the gallery, and what is similar to it. */
class Slot {
  constructor(box, k, desk) {
    Object.assign(this, { box, desk });
    this.face = box.querySelector(".face");
    this.similar = box.querySelector(".similar");
    this.file = box.querySelector("input[type=file]");
    this.id = box.querySelector("input[type=search]");
    this.file?.addEventListener("change", async () => {
      await desk.take([...this.file.files], this);
      this.file.value = ""; // the same file may be chosen again
    });
    this.id.addEventListener("change", () => this.choose());
    this.clear();
  }

  clear() {
    this.image = null;
    this.face.replaceChildren();
    this.similar.replaceChildren();
  }

  async choose() {
    if (!this.id.value) return;
    const image = data.images.findIndex((about, k) => k < this.desk.gallery.stored && about.id === this.id.value);
    if (image < 0) {
      this.desk.tell(`${this.id.value}: no image of the gallery here has this id.`, true);
      return;
    }
    this.desk.tell("");
    await this.desk.pictures.load(image);
    this.hold(image);
    await this.desk.meet();
  }

  hold(image) {
    this.image = image;
    const { pictures, metric, explorer, gallery } = this.desk;
    const picture = pictures.draw(image, -1, 220);
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", data.images[image].id);
    this.face.replaceChildren(picture, make("p", "", `${data.images[image].id} (${labelOf(image)})`));
    const tiles = make("div", "tiles");
    for (const i of metric.alike(image, -1)) {
      const tile = pictures.tile(i, -1, labelOf(i), agreement(i, image));
      tile.append(button("why", () => explorer.go(image, i), "jump"));
      tiles.append(tile);
    }
    const more = button("By any part, in the gallery", () => gallery.choose(image, true), "jump");
    this.similar.replaceChildren(
      make("p", "soft", `The most similar ${data.searched} images, by all parts together:`),
      tiles,
      more,
    );
    if (image >= gallery.stored) this.id.value = "";
    gallery.choose(image);
  }
}

async function post(path, query, body) {
  let answer;
  try {
    answer = await fetch(`${path}?${new URLSearchParams(query)}`, { method: "POST", body, credentials: "omit" });
  } catch {
    throw new Error("The server does not answer: is heml serve still running?");
  }
  const found = await answer.json().catch(() => ({ error: `The server answers ${answer.status}.` }));
  if (!answer.ok) throw new Error(found.error);
  return found;
}

started.then((page) => page && new Desk(page));
