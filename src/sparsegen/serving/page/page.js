// The page: pictures to jobs, jobs to the view, buttons and keys to edits.
"use strict";

const $ = (id) => document.getElementById(id);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const TOUCH = matchMedia("(pointer: coarse)").matches;
const LARGE = 50000; // Gaussians: files of more are not made only to tell their size

let view, editor, camera, samples;
let pictures = [], stop = null, scrubLater = false;
let weight = { state: "", bytes: null }, weighing = null;
const objects = []; // everything that was made or opened, for swapping

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

/** How far something is, 0 to 1; null where that is not known. */
function work(text, share = null) {
  say(`${text}…`);
  if (share === null) $("progress").removeAttribute("value");
  else $("progress").value = share;
  $("working").hidden = false;
}

/** Run one thing at a time, show that it runs if it takes long, and say what went wrong. */
async function attempt(action, doing) {
  if (stop) return;
  stop = new AbortController();
  api.signal = stop.signal;
  document.body.ariaBusy = "true";
  const slow = setTimeout(() => work(doing), 400);
  const before = $("status").textContent;
  try {
    await action(stop.signal);
    if ($("status").textContent === `${doing}…`) say(before);
  } catch (error) {
    if (error.name === "AbortError") say("Cancelled.");
    else say(error.message, true);
  } finally {
    clearTimeout(slow);
    $("working").hidden = true;
    stop = api.signal = null;
    document.body.ariaBusy = "false";
    if (scrubLater) scrub();
    else refresh();
  }
}

function settings() {
  const numbers = ["samples", "steps", "seed"].map((name) => [name, Number($(name).value)]);
  return { ...Object.fromEntries(numbers), detail: $("detail").checked };
}

async function make(signal) {
  work("Sending");
  const job = await follow(await api.make(pictures, settings()), signal);
  await show(job, []);
}

/** Make the object of the pictures that the server has already, with the cameras as they are now. */
async function makeAgain(signal) {
  const known = camera.known;
  const job = await follow(await api.again(camera.job.id, { ...settings(), cameras: known }), signal);
  await show(job, known);
}

/** Wait for a job and tell how far it is; the server stops it if it is cancelled here. */
async function follow(job, signal) {
  try {
    for (;;) {
      signal.throwIfAborted();
      if (job.state !== "waiting" && job.state !== "running") break;
      const stage = job.stage[0].toUpperCase() + job.stage.slice(1);
      work(job.state === "waiting" ? `Waiting: ${job.ahead} before this one` : stage, job.progress);
      await wait(80);
      job = await api.job(job.id);
    }
  } catch (error) {
    await api.cancel(job.id).catch(() => {});
    throw error;
  }
  if (job.state === "done") return job;
  throw new Error(job.error || "The job was cancelled.");
}

async function show(job, known, name = `object ${objects.length + 1}`) {
  objects.push({ job, name });
  view.orbit = new Orbit(job.frame.target, job.frame.radius);
  await editor.open(job, 0, job.queries === editor.job?.queries && job.least_queries ? editor.keep : job.queries);
  $("stage").classList.remove("empty");
  camera.show(job, known);
  await samples.show(job);
  say(`${job.gaussians.toLocaleString("en")} Gaussians from ${job.queries.toLocaleString("en")} queries.`);
}

/** Show the object with as many queries as the slider says; of many moves the last one counts. */
function scrub() {
  showSize();
  scrubLater = stop !== null;
  if (scrubLater) return;
  attempt(async () => {
    try {
      while (wanted() !== editor.keep) await editor.resize(wanted());
    } catch (error) {
      $("keep").value = editor.keep;
      throw error;
    }
  }, "Changing the number of queries");
}

const wanted = () => ($("keep-row").hidden ? editor.keep : Number($("keep").value));
const state = () => JSON.stringify([editor.job.id, editor.sample, wanted(), editor.done, $("kind").value]);

function showSize() {
  const job = editor.job, shown = view.count.toLocaleString("en");
  const size = weight.state === state() ? ` · ${Math.ceil(weight.bytes / 1000).toLocaleString("en")} KB` : "";
  $("size").textContent = `${wanted()} of ${job.queries.toLocaleString("en")} queries · ${shown} Gaussians${size}`;
}

/** Ask how large the file of what is shown would be, once it rests. */
function weigh() {
  weighing?.abort();
  if (weight.state === state() || view.count > LARGE || !view.count) return;
  weighing = new AbortController();
  const { signal } = weighing, asked = state();
  setTimeout(async () => {
    if (signal.aborted) return;
    const blob = await editor.file($("kind").value, signal).catch(() => null);
    if (!blob || signal.aborted) return;
    weight = { state: asked, bytes: blob.size };
    showSize();
  }, 250);
}

/** Buttons as the moment allows them. */
function refresh() {
  const job = editor.job;
  $("download-row").hidden = $("scrub").hidden = !job;
  $("edit").hidden = !job || !$("compared").hidden;
  $("hint").textContent = job ? TOUCH ? "Drag to turn, pinch to zoom, tap to select a part" : "Drag to turn, scroll to zoom, click to select a part" : "Drop a picture here, paste one, or choose a file.";
  if (!job) return;
  const count = editor.selection.size, made = job.cameras.length > 0;
  $("choices").hidden = !made;
  $("keep-row").hidden = job.least_queries === null;
  Object.assign($("keep"), { min: job.least_queries ?? 1, max: job.queries });
  if (!stop) $("keep").value = editor.keep;
  if (!stop) showSize();
  $("selected").textContent = count ? `${count.toLocaleString("en")} of ${editor.keep.toLocaleString("en")} queries selected` : "Click a part to select it.";
  $("change").disabled = !count;
  for (const name of ["grow", "shrink", "clear"]) document.querySelector(`[data-do=${name}]`).disabled = !count;
  document.querySelector("[data-do=undo]").disabled = !editor.done.length;
  document.querySelector("[data-do=redo]").disabled = !editor.undone.length;
  $("by").options[1].disabled = !made;
  if (!made) $("by").value = "distance";
  refreshOthers(job);
  weigh();
}

function refreshOthers(job) {
  const choices = objects.flatMap((o) => Array.from({ length: o.job.samples }, (_, sample) => ({ ...o, sample })))
    .filter((o) => o.job.queries === job.queries && o.job.gaussians === job.gaussians && !(o.job.id === job.id && o.sample === editor.sample))
    .filter((o) => o.job.cameras.length || editor.keep === job.queries);
  const before = $("other").value;
  $("other").replaceChildren(...choices.map((o) => new Option(`with ${o.name}${o.job.samples > 1 ? `, sample ${o.sample + 1}` : ""}`, `${o.job.id} ${o.sample}`)));
  if (choices.some((o) => `${o.job.id} ${o.sample}` === before)) $("other").value = before;
  $("swap-row").hidden = !choices.length;
}

const actions = {
  grow: () => editor.spread(1, $("by").value),
  shrink: () => editor.spread(-1, $("by").value),
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
  if (event.target.matches("input:not([type=checkbox], [type=range]), select") || !editor.job) return null;
  if (command && event.key.toLowerCase() === "z") return event.shiftKey ? "redo" : "undo";
  if (command || event.altKey) return null;
  return { Delete: "delete", Backspace: "delete", Escape: "clear", "]": "grow", "[": "shrink" }[event.key] || null;
}

async function download() {
  const kind = $("kind").value;
  const blob = await editor.file(kind);
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
  if (stop) return;
  if (images.length) {
    const before = pictures;
    attempt(async (signal) => {
      pictures = [...($("more").checked ? pictures : []), ...images];
      await make(signal).catch((error) => {
        pictures = before;
        throw error;
      });
    }, "Sending");
  } else if (files.length) {
    const file = files[0];
    attempt(async () => {
      const job = await api.open(file);
      pictures = [];
      await show(job, [], file.name);
    }, "Opening the file");
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
  $("again").addEventListener("click", () => attempt(makeAgain, "Making"));
  $("detail").addEventListener("change", () => attempt(makeAgain, "Making"));
  $("refind").addEventListener("click", () => {
    camera.known = [];
    attempt(makeAgain, "Making");
  });
  $("samples").addEventListener("input", () => {
    const differ = editor.job?.exemplars || Number($("steps").value) > 1;
    if ($("samples").value > 1 && !differ) $("steps").value = 10;
  });
  $("cancel").addEventListener("click", () => stop?.abort());
  $("keep").addEventListener("input", scrub);
  $("kind").addEventListener("change", refresh);
  $("download").addEventListener("click", () => attempt(download, "Writing the file"));
  for (const button of document.querySelectorAll("[data-do]"))
    button.addEventListener("click", () => attempt(() => actions[button.dataset.do](button), "Editing"));
  addEventListener("keydown", (event) => {
    const name = key(event);
    if (!name) return;
    event.preventDefault();
    attempt(() => actions[name](), "Editing");
  });
  $("canvas").addEventListener("keydown", (event) => {
    if (event.key === "Enter") editor.pick(view.canvas.clientWidth / 2, view.canvas.clientHeight / 2, event.shiftKey || $("add").checked);
  });
}

function start() {
  $("stage").classList.add("empty");
  try {
    view = new SplatView($("canvas"));
    samples = new Samples(view, (job, sample) => editor.open(job, sample, editor.keep));
  } catch (error) {
    return say(error.message, true);
  }
  editor = new Editor(view, refresh);
  camera = new CameraPanel((direction) => {
    Object.assign(view.orbit, direction);
    view.turned();
  }, () => attempt(makeAgain, "Making"));
  steer(view, (x, y, event) => editor.pick(x, y, event.shiftKey || $("add").checked));
  listen();
}

start();
