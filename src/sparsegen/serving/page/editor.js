// One object under edit: of how many queries it is, which of them are selected, and the list of edits that
// the server applies.
"use strict";

class Editor {
  constructor(view, changed) {
    Object.assign(this, { view, changed, job: null, sample: 0, keep: 0, done: [], undone: [], selection: new Set(), kept: new Map() });
  }

  /** The edits of one sample; the last of `undone` is the next to be done again. */
  edits(job, sample) {
    return this.kept.get(`${job.id} ${sample}`) || { done: [], undone: [] };
  }

  /** The edits of the shown job are those of another one, too. Says so where its queries are others. */
  carry(job) {
    if (job.queries !== this.job.queries) return this.done.length ? " Edits stay behind: it has other queries." : "";
    for (let i = 0; i < job.samples; i++) this.kept.set(`${job.id} ${i}`, this.edits(this.job, i));
    return "";
  }

  /** Show one sample of a job with its edits; of `keep` queries. Says so where they cannot be done. */
  async open(job, sample, keep) {
    const { done, undone } = this.edits(job, sample);
    try {
      this.take(job, sample, keep, await api.scene(job.id, sample, done, keep), done, undone);
      return "";
    } catch (error) {
      if (error.status !== 422 || !done.length) throw error;
      const all = [...undone, ...[...done].reverse()];
      this.take(job, sample, keep, await api.scene(job.id, sample, [], keep), [], all);
      return ` Its edits are undone (${error.message}); Redo tries them again.`;
    }
  }

  take(job, sample, keep, scene, done, undone) {
    Object.assign(this, { job, sample, keep, unit: job.frame.radius / 1.3 });
    this.remember(done, undone);
    this.view.show(scene);
    this.select([]);
  }

  remember(done, undone) {
    Object.assign(this, { done, undone });
    this.kept.set(`${this.job.id} ${this.sample}`, { done, undone });
  }

  select(queries) {
    this.selection = new Set(queries);
    this.view.select(this.selection);
    this.changed();
  }

  /** Select the part at a point of the canvas; where nothing is, clear. */
  pick(x, y, add) {
    if (!this.job) return;
    const query = this.view.pick(x, y);
    if (query === null) return add || this.select([]);
    const chosen = add ? new Set(this.selection) : new Set();
    if (add && chosen.has(query)) chosen.delete(query);
    else chosen.add(query);
    this.select(chosen);
  }

  invert() {
    this.select([...this.view.queries()].filter((q) => !this.selection.has(q)));
  }

  /** Grow or shrink by distance, or by how alike queries attend. */
  async spread(direction, by) {
    const chosen = [...this.selection];
    if (!chosen.length) return;
    const amount = by === "alike" ? Math.ceil(0.4 * chosen.length) : 0.08 * this.unit;
    const body = { edits: this.done, keep: this.keep, queries: chosen, [by]: direction * amount };
    this.select((await api.spread(this.job.id, this.sample, body)).queries);
  }

  async edit(edit) {
    if (!this.selection.size) return;
    await this.apply([...this.done, { queries: [...this.selection], ...edit }], []);
  }

  async undo() {
    if (this.done.length) await this.apply(this.done.slice(0, -1), [...this.undone, this.done.at(-1)]);
  }

  async redo() {
    if (this.undone.length) await this.apply([...this.done, this.undone.at(-1)], this.undone.slice(0, -1));
  }

  /** Nothing changes here unless the server could apply the edits. */
  async apply(done, undone, keep = this.keep) {
    const scene = await api.scene(this.job.id, this.sample, done, keep);
    this.keep = keep;
    this.remember(done, undone);
    this.view.show(scene);
    const present = this.view.queries();
    this.select([...this.selection].filter((q) => present.has(q)));
  }

  resize(keep) {
    return this.apply(this.done, this.undone, keep);
  }

  file(kind, signal) {
    return api.file(this.job.id, this.sample, this.done, this.keep, kind, signal);
  }

  move(direction) {
    return this.edit({ kind: "move", offset: direction.map((d) => d * 0.03 * this.unit) });
  }

  recolor(hex) {
    return this.edit({ kind: "recolor", color: [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255) });
  }
}
