// Shows Gaussians on a canvas with Spark, set up to keep to the contract of sparsegen's splatting, and finds the
// query behind a point of the picture.
"use strict";

const FLOATS = 15; // of one Gaussian; see scene_bytes in the Python module
const QUERY = 7; // where its number stands among these
const BLUR = 0.3; // pixels squared, added to every projected covariance
const LEAST_ALPHA = 1 / 255;
const MARKED = { color: [0.1, 0.45, 1], share: 0.6 }; // what selected Gaussians turn to, and how far
const OTHERS = { color: [0.85, 0.85, 0.85], share: 0.35 }; // where any are selected

/** Draws one object on a canvas. `selection` is a set of queries that are shown marked. */
class SplatView {
  constructor(canvas) {
    this.canvas = canvas;
    this.orbit = new Orbit();
    this.selection = new Set();
    this.count = 0;
    this.data = new Float32Array();
    this.together = [this]; // views that turn as one, and share their orbit
    this.frame = 0; // the animation frame that is waited for
    this.last = Promise.resolve(); // the last drawing that was asked for
    this.queued = false; // it has not begun
    canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); this.release(); });
    canvas.addEventListener("webglcontextrestored", () => { this.prepare(); this.upload(); });
    this.prepare();
    this.resized = new ResizeObserver(() => this.redraw());
    this.resized.observe(canvas);
  }

  prepare() {
    try {
      const options = { antialias: false, alpha: false, preserveDrawingBuffer: true, powerPreference: "high-performance" };
      this.renderer = new Spark.WebGLRenderer({ canvas: this.canvas, ...options });
    } catch {
      throw new Error("This browser has no WebGL2, which the 3D view needs.");
    }
    this.renderer.setClearColor(0xffffff);
    this.spark = new Spark.SparkRenderer({
      renderer: this.renderer, autoUpdate: false, enableLod: false, sortRadial: false, accumExtSplats: true,
      preBlurAmount: BLUR, blurAmount: 0, minAlpha: LEAST_ALPHA, maxStdDev: Math.sqrt(2 * Math.log(255)), maxPixelRadius: 4096,
    });
    this.camera = new Spark.PerspectiveCamera();
    this.camera.matrixAutoUpdate = false;
    this.scene = new Spark.Scene();
    this.scene.add(this.spark);
  }

  /** Give back what is on the graphics card. */
  release() {
    if (!this.renderer) return;
    this.drop();
    this.spark.dispose();
    this.renderer.dispose();
    this.renderer = null;
  }

  /** Show an ArrayBuffer of 60 bytes for each Gaussian. */
  show(buffer) {
    this.data = new Float32Array(buffer);
    this.count = this.data.length / FLOATS;
    this.upload();
  }

  select(queries) {
    this.selection = new Set(queries);
    this.upload();
  }

  /** The queries that any Gaussian belongs to. */
  queries() {
    const found = new Set();
    for (let at = QUERY; at < this.data.length; at += FLOATS) found.add(this.data[at]);
    return found;
  }

  upload() {
    const data = this.data, room = Spark.utils.getTextureSize(Math.max(1, this.count)).maxSplats;
    const arrays = [new Uint32Array(4 * room), new Uint32Array(4 * room)];
    for (let i = 0, at = 0; i < this.count; i++, at += FLOATS) {
      const [x, y, z, opacity, sx, sy, sz, query, qw, qx, qy, qz, ...color] = data.subarray(at, at + FLOATS);
      const [r, g, b] = this.selection.size ? tinted(color, this.selection.has(query) ? MARKED : OTHERS) : color;
      Spark.utils.encodeExtSplat(arrays, i, x, y, z, sx, sy, sz, qx, qy, qz, qw, opacity, r, g, b);
    }
    this.drop();
    this.mesh = new Spark.SplatMesh({ extSplats: new Spark.ExtSplats({ extArrays: arrays, numSplats: this.count }) });
    this.scene.add(this.mesh);
    this.redraw();
  }

  drop() {
    if (!this.mesh) return;
    this.scene.remove(this.mesh);
    this.mesh.dispose();
    this.mesh = null;
  }

  /** The view is not used any more. */
  close() {
    this.resized.disconnect();
    this.last = this.last.then(() => {
      const { renderer } = this;
      this.release();
      renderer?.forceContextLoss();
    });
  }

  /** Draw in the next frame; many calls draw once. */
  redraw() {
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  /** Draw what is to be shown now; resolves when it is on the canvas. Those who ask before it begins share it. */
  draw() {
    if (!this.queued) {
      this.queued = true;
      const next = () => { this.queued = false; return this.paint(); };
      this.last = this.last.then(next, next);
    }
    return this.last;
  }

  /** Sorted first, then drawn: the order on the canvas is never one of another direction. */
  async paint() {
    const { renderer, canvas, camera } = this;
    if (!renderer) return;
    const { right, down, forward, eye } = this.orbit.axes();
    const columns = [right, down.map((d) => -d), forward.map((f) => -f), eye];
    camera.matrix.fromArray(columns.flatMap((c, i) => [...c, i < 3 ? 0 : 1]));
    camera.updateMatrixWorld(true);
    await this.spark.update({ scene: this.scene, camera });
    if (renderer !== this.renderer) return; // lost meanwhile
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(1, Math.round(side * ratio)));
    if (canvas.width !== width || canvas.height !== height) renderer.setSize(width, height, false);
    const fov = (360 / Math.PI) * Math.atan(height / 2 / this.focal(width, height));
    Object.assign(camera, { fov, aspect: width / height, near: 0.01, far: 1000 * this.orbit.home });
    camera.updateProjectionMatrix();
    renderer.render(this.scene, camera);
  }

  /** The orbit has changed. */
  turned() {
    for (const view of this.together) view.redraw();
  }

  /** Focal length in pixels: the training cameras', over the shorter side. */
  focal(width, height) {
    return (131.25 / 128) * Math.min(width, height);
  }

  /** The query that shows most at a point of the canvas (CSS pixels), or null where nothing is. */
  pick(x, y) {
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    const axes = this.orbit.axes(), focal = this.focal(width, height), hits = [];
    for (let i = 0; i < this.count; i++) {
      const gaussian = this.data.subarray(i * FLOATS, (i + 1) * FLOATS);
      const { depth, alpha } = alphaAt(gaussian, axes, focal, x - width / 2, y - height / 2);
      if (alpha >= LEAST_ALPHA) hits.push({ depth, alpha, query: gaussian[QUERY] });
    }
    const weights = new Map();
    let through = 1;
    for (const { alpha, query } of hits.sort((first, second) => first.depth - second.depth)) {
      weights.set(query, (weights.get(query) || 0) + through * alpha);
      through *= 1 - alpha;
    }
    if (through > 0.7) return null;
    return [...weights].reduce((best, one) => (one[1] > best[1] ? one : best))[0];
  }
}

function tinted(before, { color, share }) {
  return before.map((c, i) => c + share * (color[i] - c));
}

/** How much one Gaussian covers a pixel, measured from the picture's middle: EWA projection, as it is drawn. */
function alphaAt([mx, my, mz, opacity, sx, sy, sz, , w, i, j, k], { right, down, forward, eye }, focal, x, y) {
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const away = [mx - eye[0], my - eye[1], mz - eye[2]], depth = dot(forward, away);
  if (depth < 0.01) return { depth, alpha: 0 };
  const slopes = [right, down].map((axis) => dot(axis, away) / depth);
  const [jx, jy] = [right, down].map((axis, n) => axis.map((a, m) => (focal / depth) * (a - slopes[n] * forward[m])));
  const spread = [
    [1 - 2 * (j * j + k * k), 2 * (i * j + w * k), 2 * (i * k - w * j)].map((r) => r * sx),
    [2 * (i * j - w * k), 1 - 2 * (i * i + k * k), 2 * (j * k + w * i)].map((r) => r * sy),
    [2 * (i * k + w * j), 2 * (j * k - w * i), 1 - 2 * (i * i + j * j)].map((r) => r * sz),
  ]; // the axes of its ellipsoid, as long as its deviations
  const form = (a, b) => spread.reduce((sum, axis) => sum + dot(a, axis) * dot(b, axis), 0);
  const xx = form(jx, jx) + BLUR, xy = form(jx, jy), yy = form(jy, jy) + BLUR;
  const dx = x - focal * slopes[0], dy = y - focal * slopes[1];
  const sigma = (0.5 * (yy * dx * dx + xx * dy * dy) - xy * dx * dy) / (xx * yy - xy * xy);
  return { depth, alpha: Math.min(0.999, opacity * Math.exp(-sigma)) };
}
