// Draws Gaussians with WebGL2, by the contract of sparsegen's reference splatting: EWA projection with
// 0.3 pixels² of blur, alpha = min(0.999, opacity exp(-sigma)) and none under 1/255, sorted by depth.
"use strict";

const FLOATS = 16; // of one Gaussian; see scene_bytes in the Python module
const ROW = 1024; // Gaussians in one row of the texture, four texels each
const BLUR = 0.3;

const VERTEX = `#version 300 es
precision highp float; precision highp int; precision highp sampler2D;
uniform sampler2D scene;
uniform mat4 view;
uniform vec3 lens;  // focal length, width, height in pixels
uniform float dim;  // how far unselected Gaussians fade where some are selected
in uint index;
out vec2 away; flat out vec3 conic; flat out vec4 color;
vec4 texel(int i) { int g = int(index); return texelFetch(scene, ivec2(g % ${ROW} * 4 + i, g / ${ROW}), 0); }
void main() {
  vec4 place = texel(0), first = texel(1), second = texel(2), paint = texel(3);
  vec3 p = (view * vec4(place.xyz, 1.0)).xyz;
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  if (p.z < 0.01 || place.w < 1.0 / 255.0) return;
  mat3 cov = mat3(first.x, first.y, first.z, first.y, first.w, second.x, first.z, second.x, second.y);
  vec2 size = lens.yz, limit = 0.5 * size / lens.x + 0.15 * size / lens.x;
  vec2 slope = clamp(p.xy / p.z, -limit, limit);
  mat3 rot = mat3(view);
  mat3 seen = rot * cov * transpose(rot);
  float f = lens.x / p.z;
  vec3 jx = vec3(f, 0.0, -f * slope.x), jy = vec3(0.0, f, -f * slope.y);
  float xx = dot(jx, seen * jx) + ${BLUR}, xy = dot(jx, seen * jy), yy = dot(jy, seen * jy) + ${BLUR};
  float det = xx * yy - xy * xy;
  conic = vec3(yy, -xy, xx) / det;
  // alpha is 1/255 where sigma is log(255 opacity): nothing is drawn outside of that ellipse's box
  float reach = 2.0 * log(255.0 * place.w);
  vec2 half_box = sqrt(reach * vec2(xx, yy)) + 1.0;
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  away = corner * half_box;
  vec2 pixel = lens.x * p.xy / p.z + 0.5 * size + away;
  gl_Position = vec4(vec2(pixel.x, size.y - pixel.y) / size * 2.0 - 1.0, 0.0, 1.0);
  vec3 marked = mix(paint.rgb, vec3(0.1, 0.45, 1.0), 0.6);
  color = vec4(paint.w > 0.5 ? marked : mix(paint.rgb, vec3(0.85), dim), place.w);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec2 away; flat in vec3 conic; flat in vec4 color;
out vec4 result;
void main() {
  float sigma = 0.5 * (conic.x * away.x * away.x + conic.z * away.y * away.y) + conic.y * away.x * away.y;
  float alpha = min(0.999, color.a * exp(-sigma));
  if (alpha < 1.0 / 255.0) discard;
  result = vec4(color.rgb * alpha, alpha);
}`;

// The float target holds sums that 8 bits would round at every Gaussian; this shows it.
const COPY_VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;
const COPY_FRAGMENT = `#version 300 es
precision highp float;
uniform highp sampler2D sums;
out vec4 result;
void main() { result = texelFetch(sums, ivec2(gl_FragCoord.xy), 0); }`;

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

  axes() {
    const a = (this.azimuth * Math.PI) / 180, e = (this.elevation * Math.PI) / 180;
    const forward = [-Math.cos(e) * Math.cos(a), -Math.cos(e) * Math.sin(a), -Math.sin(e)];
    const right = [-Math.sin(a), Math.cos(a), 0];
    const down = [1, 2, 0].map((j, i) => forward[j] * right[(i + 2) % 3] - forward[(i + 2) % 3] * right[j]);
    return { right, down, forward };
  }

  /** World to camera, OpenCV axes, row by row. */
  matrix() {
    const { right, down, forward } = this.axes();
    const eye = this.target.map((t, i) => t - this.radius * forward[i]);
    const row = (v) => [...v, -(v[0] * eye[0] + v[1] * eye[1] + v[2] * eye[2])];
    return [row(right), row(down), row(forward)];
  }
}

/** Draws one scene on a canvas. `selection` is a set of queries that are shown marked. */
class SplatView {
  constructor(canvas, background = [1, 1, 1]) {
    this.canvas = canvas;
    this.background = background;
    this.orbit = new Orbit();
    this.selection = new Set();
    this.count = 0;
    this.data = new Float32Array();
    this.together = [this]; // views that turn as one, and share their orbit
    this.onframe = () => {};
    const options = { antialias: false, alpha: false, preserveDrawingBuffer: true, powerPreference: "high-performance" };
    this.gl = canvas.getContext("webgl2", options);
    if (!this.gl) throw new Error("This browser has no WebGL2, which the 3D view needs.");
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => { this.prepare(); this.upload(); });
    this.prepare();
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  prepare() {
    const gl = this.gl;
    this.floats = Boolean(gl.getExtension("EXT_color_buffer_float") || gl.getExtension("EXT_color_buffer_half_float"));
    this.program = link(gl, VERTEX, FRAGMENT);
    this.copy = link(gl, COPY_VERTEX, COPY_FRAGMENT);
    this.at = Object.fromEntries(["scene", "view", "lens", "dim"].map((n) => [n, gl.getUniformLocation(this.program, n)]));
    this.texture = gl.createTexture();
    this.sums = gl.createTexture();
    this.target = gl.createFramebuffer();
    this.targetSize = "";
    this.order = gl.createBuffer();
    this.empty = gl.createVertexArray();
    this.vertices = gl.createVertexArray();
    gl.bindVertexArray(this.vertices);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.order);
    const index = gl.getAttribLocation(this.program, "index");
    gl.enableVertexAttribArray(index);
    gl.vertexAttribIPointer(index, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(index, 1);
  }

  /** Show an ArrayBuffer of 64 bytes for each Gaussian. */
  show(buffer) {
    this.data = new Float32Array(buffer);
    this.count = this.data.length / FLOATS;
    this.upload();
  }

  select(queries) {
    this.selection = new Set(queries);
    this.upload();
  }

  upload() {
    const gl = this.gl, rows = Math.max(1, Math.ceil(this.count / ROW));
    const padded = new Float32Array(rows * ROW * FLOATS);
    padded.set(this.data);
    for (let i = 0; i < this.count; i++) padded[i * FLOATS + 15] = this.selection.has(this.data[i * FLOATS + 10]) ? 1 : 0;
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, ROW * 4, rows, 0, gl.RGBA, gl.FLOAT, padded);
    this.redraw();
  }

  /** Draw in the next frame; many calls draw once. */
  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  /** The orbit has changed. */
  turned() {
    for (const view of this.together) view.redraw();
  }

  /** Focal length in pixels: the training cameras', over the shorter side. */
  focal(width, height) {
    return (131.25 / 128) * Math.min(width, height);
  }

  draw() {
    const gl = this.gl, canvas = this.canvas, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio)), height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.retarget(width, height);
    const m = this.orbit.matrix();
    const order = sorted(this.data, this.count, m[2]);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.floats ? this.target : null);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...this.background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.useProgram(this.program);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.uniformMatrix4fv(this.at.view, true, [...m[0], ...m[1], ...m[2], 0, 0, 0, 1]);
    gl.uniform3f(this.at.lens, this.focal(width, height), width, height);
    gl.uniform1f(this.at.dim, this.selection.size ? 0.35 : 0);
    gl.bindVertexArray(this.vertices);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.order);
    gl.bufferData(gl.ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, order.length);
    if (this.floats) this.present(width, height);
    this.onframe();
  }

  retarget(width, height) {
    if (!this.floats || this.targetSize === `${width}x${height}`) return;
    const gl = this.gl;
    this.targetSize = `${width}x${height}`;
    gl.bindTexture(gl.TEXTURE_2D, this.sums);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA16F, width, height, 0, gl.RGBA, gl.HALF_FLOAT, null);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.sums, 0);
    if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) this.floats = false;
  }

  present(width, height) {
    const gl = this.gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, width, height);
    gl.disable(gl.BLEND);
    gl.useProgram(this.copy);
    gl.bindTexture(gl.TEXTURE_2D, this.sums);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** The query that shows most at a point of the canvas (CSS pixels), or null where nothing is. */
  pick(x, y) {
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    const m = this.orbit.matrix(), f = this.focal(width, height);
    const order = sorted(this.data, this.count, m[2]).reverse();
    const weights = new Map();
    let through = 1;
    for (const i of order) {
      const alpha = alphaAt(this.data.subarray(i * FLOATS, i * FLOATS + FLOATS), m, f, x - width / 2, y - height / 2);
      if (alpha < 1 / 255) continue;
      const query = this.data[i * FLOATS + 10];
      weights.set(query, (weights.get(query) || 0) + through * alpha);
      through *= 1 - alpha;
      if (through < 1e-4) break;
    }
    if (through > 0.7) return null;
    return [...weights].reduce((best, one) => (one[1] > best[1] ? one : best))[0];
  }
}

/** Indices of the Gaussians in front of the camera, farthest first: a counting sort of depths. */
function sorted(data, count, [zx, zy, zz, zw]) {
  const depths = new Float32Array(count);
  let low = Infinity, high = -Infinity, visible = 0;
  for (let i = 0; i < count; i++) {
    const at = i * FLOATS, depth = zx * data[at] + zy * data[at + 1] + zz * data[at + 2] + zw;
    depths[i] = depth;
    if (depth < 0.01) continue;
    visible++;
    if (depth < low) low = depth;
    if (depth > high) high = depth;
  }
  const bins = 65536, places = new Uint32Array(bins + 1), keys = new Uint16Array(count);
  const factor = high > low ? (bins - 1) / (high - low) : 0;
  for (let i = 0; i < count; i++) {
    if (depths[i] < 0.01) continue;
    keys[i] = (high - depths[i]) * factor;
    places[keys[i] + 1]++;
  }
  for (let b = 0; b < bins; b++) places[b + 1] += places[b];
  const order = new Uint32Array(visible);
  // From the last: of equal depths the first is drawn last, in front.
  for (let i = count - 1; i >= 0; i--) if (depths[i] >= 0.01) order[places[keys[i]]++] = i;
  return order;
}

/** The same alpha as the shader's, of one Gaussian at a pixel measured from the picture's middle. */
function alphaAt(g, m, f, x, y) {
  const [px, py, pz] = m.map((r) => r[0] * g[0] + r[1] * g[1] + r[2] * g[2] + r[3]);
  const jx = m[0].slice(0, 3).map((r, i) => (f / pz) * (r - (px / pz) * m[2][i]));
  const jy = m[1].slice(0, 3).map((r, i) => (f / pz) * (r - (py / pz) * m[2][i]));
  const cov = [[g[4], g[5], g[6]], [g[5], g[7], g[8]], [g[6], g[8], g[9]]];
  const form = (a, b) => a.reduce((s, ai, i) => s + ai * cov[i].reduce((t, c, j) => t + c * b[j], 0), 0);
  const xx = form(jx, jx) + BLUR, xy = form(jx, jy), yy = form(jy, jy) + BLUR;
  const dx = x - (f * px) / pz, dy = y - (f * py) / pz;
  const sigma = (0.5 * (yy * dx * dx + xx * dy * dy) - xy * dx * dy) / (xx * yy - xy * xy);
  return Math.min(0.999, g[3] * Math.exp(-sigma));
}

function link(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (gl.getProgramParameter(program, gl.LINK_STATUS)) return program;
  const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
  throw new Error(`The 3D view cannot start: ${[gl.getProgramInfoLog(program), ...logs].join(" ")}`);
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
