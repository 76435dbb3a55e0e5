// A box around the object of a picture that shows several: drawn by hand, or typed.
"use strict";

const EDGES = ["left", "top", "right", "bottom"];

class BoxPanel {
  /** `chosen` is told the pictures of an object, one of which has another box than before, or none. */
  constructor(chosen) {
    Object.assign(this, { chosen, pictures: [], index: 0 });
    this.listen();
  }

  get isOpen() {
    return !$("boxing").hidden;
  }

  /** Show one of these pictures, to draw the box in. */
  open(pictures, index) {
    this.close();
    Object.assign(this, { pictures, index });
    $("original").src = URL.createObjectURL(pictures[index].file);
    $("boxing").hidden = false;
    $("box-open").ariaExpanded = "true";
    $("boxing").scrollIntoView({ block: "nearest" });
    this.write(pictures[index].box);
  }

  close() {
    URL.revokeObjectURL($("original").src);
    $("boxing").hidden = true;
    $("box-open").ariaExpanded = "false";
  }

  choose(box) {
    this.chosen(this.pictures.map((picture, i) => (i === this.index ? { ...picture, box } : picture)));
  }

  /** The box that stands in the fields, in whatever order its edges were given; null where there is none. */
  get box() {
    const [left, top, right, bottom] = EDGES.map((edge) => $(`box-${edge}`).valueAsNumber);
    const box = [Math.min(left, right), Math.min(top, bottom), Math.max(left, right), Math.max(top, bottom)];
    return box[2] > box[0] && box[3] > box[1] ? box : null;
  }

  write(box) {
    EDGES.forEach((edge, i) => { $(`box-${edge}`).value = box ? box[i] : ""; });
    this.draw();
  }

  draw() {
    const { naturalWidth: width, naturalHeight: height } = $("original"), { box } = this;
    $("box").hidden = !box || !width;
    if ($("box").hidden) return;
    const share = [box[0] / width, box[1] / height, 1 - box[2] / width, 1 - box[3] / height];
    EDGES.forEach((edge, i) => { $("box").style[edge] = `${100 * Math.max(0, share[i])}%`; });
  }

  /** Where in the picture a pointer is, in its pixels. */
  place(event) {
    const { left, top, width, height } = $("frame").getBoundingClientRect();
    const { naturalWidth, naturalHeight } = $("original");
    const within = (share, size) => Math.round(Math.max(0, Math.min(1, share)) * size);
    return [within((event.clientX - left) / width, naturalWidth), within((event.clientY - top) / height, naturalHeight)];
  }

  listen() {
    const frame = $("frame");
    let from = [];
    frame.addEventListener("pointerdown", (event) => {
      frame.setPointerCapture(event.pointerId);
      from = this.place(event);
      this.write(null);
    });
    frame.addEventListener("pointermove", (event) => {
      if (!frame.hasPointerCapture(event.pointerId)) return;
      this.write([...from, ...this.place(event)]);
    });
    frame.addEventListener("pointerup", () => this.write(this.box));
    $("original").addEventListener("load", () => this.draw());
    $("original").addEventListener("error", () => {
      if (this.isOpen) say("This browser cannot show the picture; type the box, in its pixels.", true);
    });
    for (const edge of EDGES) $(`box-${edge}`).addEventListener("input", () => this.draw());
    $("box-use").addEventListener("click", () => {
      if (this.box) this.choose(this.box);
      else say("Draw a box around the object first: press at one corner, release at the other.", true);
    });
    $("box-none").addEventListener("click", () => this.choose(null));
  }
}
