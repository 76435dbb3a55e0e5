// The page: pictures to jobs, jobs to the view, buttons and keys to edits.
"use strict";

const $ = (id) => document.getElementById(id);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let view, editor, thumb;
let pictures = [], running = null;
const objects = []; // everything that was made or opened, for swapping

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

/** Run one thing at a time, and say what went wrong. */
async function attempt(action) {
  if (document.body.ariaBusy === "true") return;
  document.body.ariaBusy = "true";
  try {
    await action();
  } catch (error) {
    say(error.message, true);
  } finally {
    document.body.ariaBusy = "false";
    refresh();
  }
}

async function make(keepCamera) {
  if (!pictures.length) return;
  const settings = Object.fromEntries(["samples", "steps", "seed"].map((name) => [name, $(name).value]));
  for (const name of ["azimuth", "elevation"]) settings[name] = keepCamera ? $(name).value : "";
  say("Sending…");
  const job = await follow(await api.make(pictures, settings));
  if (job) await show(job);
}

/** Wait for a job and tell how far it is; null if it was cancelled. */
async function follow(job) {
  running = job.id;
  try {
    while (job.state === "waiting" || job.state === "running") {
      say(job.state === "waiting" ? `Waiting: ${job.ahead} before this one` : `${job.stage[0].toUpperCase()}${job.stage.slice(1)}…`);
      $("progress").value = job.progress;
      $("progress").hidden = $("cancel").hidden = false;
      await wait(150);
      job = await api.job(job.id);
    }
  } finally {
    running = null;
    $("progress").hidden = $("cancel").hidden = true;
  }
  if (job.state === "failed") throw new Error(job.error);
  if (job.state === "done") return job;
  say("Cancelled.");
  return null;
}

async function show(job, name = `object ${objects.length + 1}`) {
  objects.push({ job, name });
  view.orbit = new Orbit(job.frame.target, job.frame.radius);
  await editor.open(job, 0);
  $("stage").classList.remove("empty");
  showCamera(job);
  await showSamples(job);
  say(`${job.gaussians.toLocaleString("en")} Gaussians from ${job.queries.toLocaleString("en")} queries.`);
}

function showCamera(job) {
  $("seen").hidden = $("again").hidden = !job.pictures;
  if (!job.pictures) return;
  $("cutouts").replaceChildren(...Array.from({ length: job.pictures }, (_, i) => {
    const image = new Image();
    image.src = `/api/jobs/${job.id}/cutouts/${i}`;
    image.alt = `picture ${i + 1} without its background`;
    return image;
  }));
  const [best, ...others] = job.cameras[0];
  setCamera(best);
  view.orbit.azimuth = best.azimuth;
  view.orbit.elevation = best.elevation;
  view.redraw();
  const buttons = others.map((camera) => {
    const button = document.createElement("button");
    button.textContent = `${Math.round(camera.azimuth)}°, ${Math.round(camera.elevation)}°`;
    button.addEventListener("click", () => { setCamera(camera); attempt(() => make(true)); });
    return button;
  });
  const label = document.createElement("span");
  label.textContent = "Or from";
  $("alternatives").replaceChildren(...(buttons.length ? [label, ...buttons] : []));
}

function setCamera({ azimuth, elevation }) {
  $("azimuth").value = Math.round(((azimuth + 540) % 360) - 180);
  $("elevation").value = Math.round(elevation);
  pointEye();
}

/** Seen from above with the object facing right, the left of the object is up. */
function pointEye() {
  $("eye").setAttribute("transform", `rotate(${-Number($("azimuth").value) || 0})`);
}

/** Every sample drawn from the picture's own camera, side by side. */
async function showSamples(job) {
  $("choices").hidden = job.samples < 2;
  if (job.samples < 2) return;
  Object.assign(thumb.orbit, { ...view.orbit });
  const buttons = [];
  for (let i = 0; i < job.samples; i++) {
    thumb.show(await api.scene(job.id, i, []));
    thumb.draw();
    const image = new Image();
    image.src = thumb.canvas.toDataURL();
    image.alt = `sample ${i + 1}`;
    const button = document.createElement("button");
    button.append(image);
    button.setAttribute("aria-pressed", i === 0);
    button.addEventListener("click", () => attempt(async () => {
      await editor.open(job, i);
      for (const other of buttons) other.setAttribute("aria-pressed", other === button);
    }));
    buttons.push(button);
  }
  $("samples-list").replaceChildren(...buttons);
}

/** Buttons as the moment allows them. */
function refresh() {
  const job = editor.job;
  $("edit").hidden = $("download-row").hidden = !job;
  $("hint").textContent = job ? "Drag to turn, scroll to zoom, click to select a part" : "Drop a picture here, paste one, or choose a file.";
  if (!job) return;
  const count = editor.selection.size;
  $("selected").textContent = count ? `${count.toLocaleString("en")} of ${job.queries.toLocaleString("en")} queries selected` : "Click a part to select it.";
  for (const button of document.querySelectorAll(".needs button, [data-do=grow], [data-do=shrink], [data-do=clear]")) button.disabled = !count;
  document.querySelector("[data-do=undo]").disabled = !editor.done.length;
  document.querySelector("[data-do=redo]").disabled = !editor.undone.length;
  refreshOthers(job);
}

function refreshOthers(job) {
  const choices = objects.flatMap((o, i) => Array.from({ length: o.job.samples }, (_, sample) => ({ ...o, i, sample })))
    .filter((o) => o.job.queries === job.queries && o.job.gaussians === job.gaussians && !(o.job.id === job.id && o.sample === editor.sample));
  const before = $("other").value;
  $("other").replaceChildren(...choices.map((o) => new Option(o.job.samples > 1 ? `${o.name}, sample ${o.sample + 1}` : o.name, `${o.job.id} ${o.sample}`)));
  if (choices.some((o) => `${o.job.id} ${o.sample}` === before)) $("other").value = before;
  $("swap-row").hidden = !choices.length;
}

const actions = {
  grow: () => editor.spread(1),
  shrink: () => editor.spread(-1),
  invert: () => editor.invert(),
  clear: () => editor.select([]),
  delete: () => editor.edit({ kind: "delete" }),
  larger: () => editor.edit({ kind: "scale", factor: 1.15 }),
  smaller: () => editor.edit({ kind: "scale", factor: 1 / 1.15 }),
  move: (button) => editor.move(button.dataset.by.split(",").map(Number)),
  recolor: () => editor.recolor($("color").value),
  swap: () => {
    const [job, sample] = $("other").value.split(" ");
    return editor.edit({ kind: "swap", other_job: job, other_sample: Number(sample) });
  },
  undo: () => editor.undo(),
  redo: () => editor.redo(),
};

function key(event) {
  const command = event.ctrlKey || event.metaKey;
  if (event.target.matches("input:not([type=checkbox]), select") || !editor.job) return null;
  if (command && event.key.toLowerCase() === "z") return event.shiftKey ? "redo" : "undo";
  if (command || event.altKey) return null;
  return { Delete: "delete", Backspace: "delete", Escape: "clear", "]": "grow", "[": "shrink" }[event.key] || null;
}

async function download() {
  const kind = $("kind").value;
  const blob = await api.file(editor.job.id, editor.sample, editor.done, kind);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `object.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`object.${kind}: ${Math.ceil(blob.size / 1000).toLocaleString("en")} KB`);
}

/** Pictures make an object; anything else is taken for a Gaussian file. */
function take(files) {
  const images = [...files].filter((file) => file.type.startsWith("image/"));
  if (images.length) {
    pictures = images;
    attempt(() => make(false));
  } else if (files.length) {
    const file = files[0];
    attempt(async () => {
      say("Opening…");
      await show(await api.open(file), file.name);
    });
  }
}

function listen() {
  for (const id of ["pictures", "file"]) $(id).addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = "";
  });
  addEventListener("paste", (event) => take(event.clipboardData.files));
  addEventListener("dragover", (event) => { event.preventDefault(); $("stage").classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("stage").classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("stage").classList.remove("over");
    take(event.dataTransfer.files);
  });
  $("again").addEventListener("click", () => attempt(() => make(true)));
  $("cancel").addEventListener("click", () => running && api.cancel(running).catch((error) => say(error.message, true)));
  $("azimuth").addEventListener("input", pointEye);
  $("download").addEventListener("click", () => attempt(download));
  for (const button of document.querySelectorAll("[data-do]"))
    button.addEventListener("click", () => attempt(() => actions[button.dataset.do](button)));
  addEventListener("keydown", (event) => {
    const name = key(event);
    if (!name) return;
    event.preventDefault();
    attempt(() => actions[name]());
  });
  $("canvas").addEventListener("keydown", (event) => {
    if (event.key === "Enter") editor.pick(view.canvas.clientWidth / 2, view.canvas.clientHeight / 2, event.shiftKey || $("add").checked);
  });
}

function start() {
  $("stage").classList.add("empty");
  const small = document.createElement("canvas");
  small.className = "thumb";
  document.body.append(small);
  try {
    view = new SplatView($("canvas"));
    thumb = new SplatView(small);
  } catch (error) {
    return say(error.message, true);
  }
  editor = new Editor(view, refresh);
  steer(view, (x, y, event) => editor.pick(x, y, event.shiftKey || $("add").checked));
  listen();
}

start();
