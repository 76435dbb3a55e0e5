// What the server is asked for. Errors carry the server's own words, and its status.
"use strict";

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer; is sparsegen serve still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const detail = Array.isArray(told.detail) ? told.detail.map((d) => `${d.loc.at(-1)}: ${d.msg}`).join("; ") : told.detail;
  throw Object.assign(new Error(detail || `The server said ${answer.status}.`), { status: answer.status });
}

const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

const api = {
  signal: null, // stops what the server is asked for, where that is not a job of its own

  make(pictures, settings) {
    const form = new FormData();
    for (const { file } of pictures) form.append("pictures", file);
    for (const { box } of pictures) form.append("boxes", box ? box.join() : "");
    for (const [name, value] of Object.entries(settings)) if (value !== "") form.append(name, value);
    return ask("jobs", { method: "POST", body: form }).then((r) => r.json());
  },
  again: (id, body) => ask(`jobs/${id}/again`, json(body)).then((r) => r.json()),
  open(file) {
    const form = new FormData();
    form.append("file", file);
    return ask("files", { method: "POST", body: form, signal: api.signal }).then((r) => r.json());
  },
  job: (id) => ask(`jobs/${id}`, { signal: api.signal }).then((r) => r.json()),
  cancel: (id) => ask(`jobs/${id}`, { method: "DELETE", keepalive: true }), // also by a page that is closed
  scene: (id, sample, edits, keep) =>
    ask(`jobs/${id}/samples/${sample}/scene`, { ...json({ edits, keep }), signal: api.signal }).then((r) => r.arrayBuffer()),
  spread: (id, sample, body) =>
    ask(`jobs/${id}/samples/${sample}/selection`, { ...json(body), signal: api.signal }).then((r) => r.json()),
  file: (id, sample, edits, keep, kind, signal = api.signal) =>
    ask(`jobs/${id}/samples/${sample}/file?kind=${kind}`, { ...json({ edits, keep }), signal }).then((r) => r.blob()),
};
