// The page: pictures to jobs, jobs to the view, buttons and keys to edits.
"use strict";

const TOUCH = matchMedia("(pointer: coarse)").matches;
const LARGE = 50000; // Gaussians: files of more are not made only to tell their size

let view, editor, camera, boxing, samples;
let pictures = [], scrubLater = false; // each a file, and a box around its object or null
let weight = { state: "", bytes: null }, weighing = null;
const objects = []; // everything that was made or opened, for swapping

function settings() {
  const numbers = ["samples", "steps", "seed"].map((name) => [name, number($(name))]);
  return { ...Object.fromEntries(numbers), detail: $("detail").checked };
}

function number(field) {
  if ($("choices").hidden && !field.checkValidity()) field.value = field.defaultValue;
  if (field.reportValidity()) return Number(field.value);
  throw new Error(`${expected(field)}; correct it.`);
}

async function make(signal, same) {
  work("Sending");
  const job = await follow(await api.make(pictures, settings()), signal);
  await show(job, [], same);
}

/** Make the object of the same pictures, with the cameras as they are now; if that fails, they are as they were. */
async function makeAgain(signal) {
  const known = camera.asked();
  try {
    const job = await orderAgain(known, signal);
    await show(job, known, true);
  } catch (error) {
    camera.restore();
    $("detail").checked = editor.job.detail;
    throw error;
  }
}

/** A server that has forgotten the pictures gets them once more; it is told the first one's camera only. */
async function orderAgain(known, signal) {
  try {
    return await follow(await api.again(camera.job.id, { ...settings(), cameras: known }), signal);
  } catch (error) {
    if (error.status !== 404 || !pictures.length) throw error;
  }
  work("Sending");
  known.splice(1);
  return follow(await api.make(pictures, { ...settings(), ...known[0] }), signal);
}

/** Wait for a job and tell how far it is; the server stops it if it is cancelled here, or the page is left. */
async function follow(job, signal) {
  const leave = () => api.cancel(job.id).catch(() => {});
  addEventListener("pagehide", leave);
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
    await leave();
    throw error;
  } finally {
    removeEventListener("pagehide", leave);
  }
  if (job.state === "done") return job;
  throw new Error(job.error || "The job was cancelled.");
}

/** Show what came of a job; where it is the same object as before, made again, its edits stay. */
async function show(job, known, same, name = `object ${objects.length + 1}`) {
  const sample = same && editor.sample < job.samples ? editor.sample : 0;
  const keep = job.queries === editor.job?.queries && job.least_queries ? editor.keep : job.queries;
  const left = same ? editor.carry(job) : "";
  if (!same) camera.forget();
  boxing.close();
  const why = await editor.open(job, sample, keep);
  objects.push({ job, name });
  view.orbit = new Orbit(job.frame.target, job.frame.radius);
  $("stage").classList.remove("empty");
  if (job.cameras.length) $("detail").checked = job.detail;
  camera.show(job, known);
  if (!same) camera.rewrite();
  await samples.show(job, sample);
  say(`${job.gaussians.toLocaleString("en")} Gaussians from ${job.queries.toLocaleString("en")} queries.${left}${why}`);
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

function listen() {
  listenToFiles();
  $("again").addEventListener("click", () => attempt(makeAgain, "Making"));
  $("detail").addEventListener("change", () => attempt(makeAgain, "Making"));
  $("box-open").addEventListener("click", () => (boxing.isOpen ? boxing.close() : boxing.open(pictures, camera.picture)));
  $("cutouts").addEventListener("click", () => boxing.close());
  $("refind").addEventListener("click", () => attempt((signal) => {
    camera.find();
    return makeAgain(signal);
  }, "Making"));
  $("samples").addEventListener("input", () => {
    const differ = editor.job?.exemplars || Number($("steps").value) > 1;
    if ($("samples").value > 1 && !differ) $("steps").value = 10;
  });
  $("cancel").addEventListener("click", () => stop?.abort());
  $("keep").addEventListener("input", scrub);
  $("kind").addEventListener("change", refresh);
  for (const button of document.querySelectorAll("[data-do]"))
    button.addEventListener("click", () => attempt(() => actions[button.dataset.do](button), "Editing"));
  addEventListener("keydown", (event) => {
    const name = key(event);
    if (!name) return;
    event.preventDefault();
    if ($("compared").hidden) attempt(() => actions[name](), "Editing");
    else if (name === "clear") attempt(() => samples.compare(false), "Editing"); // the object under edit is hidden
  });
  $("canvas").addEventListener("keydown", (event) => {
    if (event.key === "Enter") editor.pick(view.canvas.clientWidth / 2, view.canvas.clientHeight / 2, event.shiftKey || $("add").checked);
  });
}

function start() {
  $("stage").classList.add("empty");
  try {
    view = new SplatView($("canvas"));
    samples = new Samples(view, async (job, sample) => {
      const why = await editor.open(job, sample, editor.keep);
      if (why) say(`Sample ${sample + 1}.${why}`);
    });
  } catch (error) {
    return say(error.message, true);
  }
  editor = new Editor(view, refresh);
  camera = new CameraPanel(({ azimuth, elevation }) => {
    Object.assign(view.orbit, { azimuth, elevation });
    view.turned();
  }, () => attempt(makeAgain, "Making"));
  boxing = new BoxPanel((wanted) => attempt((signal) => makeOf(wanted, signal, false), "Making"));
  steer(view, (x, y, event) => editor.pick(x, y, event.shiftKey || $("add").checked));
  listen();
}

start();
