// Where a view looks from, and the hands that turn it.
"use strict";

/** A camera on a sphere around a point, in sparsegen's world: +Z up, azimuth 0 in front (+X). Degrees. */
class Orbit {
  constructor(target = [0, 0, 0], radius = 1.3) {
    Object.assign(this, { azimuth: -36, elevation: 20, radius, target: [...target], home: radius });
  }

  turn(right, up) {
    this.azimuth = (((this.azimuth + right) % 360) + 360) % 360;
    this.elevation = Math.max(-89, Math.min(89, this.elevation + up));
  }

  zoom(factor) {
    this.radius = Math.max(0.05 * this.home, Math.min(20 * this.home, this.radius * factor));
  }

  pan(right, down) {
    const { right: r, down: d } = this.axes();
    this.target = this.target.map((t, i) => t + this.radius * (right * r[i] + down * d[i]));
  }

  /** Where the camera stands, and its OpenCV axes, in the world. */
  axes() {
    const a = (this.azimuth * Math.PI) / 180, e = (this.elevation * Math.PI) / 180;
    const forward = [-Math.cos(e) * Math.cos(a), -Math.cos(e) * Math.sin(a), -Math.sin(e)];
    const right = [-Math.sin(a), Math.cos(a), 0];
    const down = [1, 2, 0].map((j, i) => forward[j] * right[(i + 2) % 3] - forward[(i + 2) % 3] * right[j]);
    const eye = this.target.map((t, i) => t - this.radius * forward[i]);
    return { right, down, forward, eye };
  }
}

/** Mouse, touch and keys turn the camera; a press that does not move is a click, told to `clicked`. */
function steer(view, clicked = () => {}) {
  const canvas = view.canvas, fingers = new Map();
  let moved = 0;
  canvas.tabIndex = 0;
  canvas.style.touchAction = "none";
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    moved = fingers.size > 1 ? Infinity : 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY, side = Math.min(canvas.clientWidth, canvas.clientHeight);
    moved += Math.hypot(dx, dy);
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const span = (e) => Math.hypot(e.clientX - other.clientX, e.clientY - other.clientY) || 1;
      view.orbit.zoom(span(before) / span(event));
      view.orbit.pan((-0.5 * dx) / side, (-0.5 * dy) / side);
    } else if (event.buttons & 2 || event.ctrlKey) view.orbit.pan(-dx / side, -dy / side);
    else view.orbit.turn((-240 * dx) / side, (180 * dy) / side);
    fingers.set(event.pointerId, event);
    view.turned();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => {
    if (!fingers.delete(event.pointerId) || name === "pointercancel" || moved > 5 || event.button > 0) return;
    const box = canvas.getBoundingClientRect();
    clicked(event.clientX - box.left, event.clientY - box.top, event);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.orbit.zoom(Math.exp(Math.max(-100, Math.min(100, event.deltaY)) / 400));
    view.turned();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 8], ArrowDown: [0, -8] };
    const zooms = { "+": 0.9, "=": 0.9, "-": 1 / 0.9 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (turns[event.key]) view.orbit.turn(...turns[event.key]);
    else if (zooms[event.key]) view.orbit.zoom(zooms[event.key]);
    else return;
    event.preventDefault();
    view.turned();
  });
}
