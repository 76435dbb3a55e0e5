// The samples of one job: small pictures of all, and all of them large beside each other, turning as one.
"use strict";

class Samples {
  constructor(view, taken) {
    Object.assign(this, { view, taken, job: null, views: [] });
    const canvas = document.createElement("canvas");
    canvas.className = "thumb";
    document.body.append(canvas);
    this.thumb = new SplatView(canvas);
    $("compare").addEventListener("click", () => attempt(() => this.compare($("compared").hidden), "Drawing"));
  }

  /** Every sample from the picture's own camera, as small pictures to choose from. */
  async show(job, sample) {
    this.job = job;
    this.clear();
    $("samples-list").hidden = $("compare").hidden = true;
    if (job.samples < 2) return;
    Object.assign(this.thumb.orbit, { ...this.view.orbit, radius: 0.75 * this.view.orbit.radius });
    const buttons = [];
    for (const [i, scene] of (await this.scenes()).entries()) {
      this.thumb.show(scene);
      await this.thumb.draw();
      const image = new Image();
      image.src = this.thumb.canvas.toDataURL();
      image.alt = this.name(i);
      const button = element("button", image);
      button.title = this.name(i);
      button.addEventListener("click", () => attempt(() => this.take(i), "Opening"));
      buttons.push(button);
    }
    exchange($("samples-list"), buttons);
    $("samples-list").hidden = $("compare").hidden = false;
    this.mark(sample);
  }

  /** All samples as they were made. */
  async scenes() {
    const scenes = [];
    for (let i = 0; i < this.job.samples; i++) scenes.push(await api.scene(this.job.id, i, [], this.job.queries));
    return scenes;
  }

  /** How well a sample agrees with the picture, and which of them does best. */
  name(i) {
    const scores = this.job.agreements, best = this.job.samples > 1 && scores[i] === Math.max(...scores);
    return `Sample ${i + 1} · ${scores[i].toFixed(1)} dB${best ? ", best" : ""}`;
  }

  mark(sample) {
    [...$("samples-list").children].forEach((button, i) => button.setAttribute("aria-pressed", i === sample));
  }

  async take(sample) {
    await this.taken(this.job, sample);
    this.clear();
    this.mark(sample);
  }

  /** All samples beside each other, or the one under edit alone. */
  async compare(on) {
    const scenes = on ? await this.scenes() : [];
    this.clear();
    if (!on) return;
    this.toggle(true);
    try {
      scenes.forEach((scene, i) => this.add(scene, i));
    } catch (error) {
      this.clear();
      throw error;
    }
    for (const one of this.views) one.together = [this.view, ...this.views];
  }

  toggle(on) {
    $("compared").hidden = !on;
    $("compare").setAttribute("aria-pressed", on);
    $("stage").classList.toggle("comparing", on);
  }

  clear() {
    this.toggle(false);
    for (const one of this.views) one.close();
    this.views = [];
    $("compared").replaceChildren();
  }

  add(scene, i) {
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", `3D view of sample ${i + 1}. Arrow keys turn all, plus and minus zoom.`);
    const button = element("button", "Take it");
    button.addEventListener("click", () => attempt(() => this.take(i), "Opening"));
    $("compared").append(element("figure", canvas, element("figcaption", this.name(i), button)));
    const one = new SplatView(canvas);
    one.orbit = this.view.orbit;
    one.show(scene);
    steer(one);
    this.views.push(one);
  }
}
