// Where the pictures were taken from: two dials, numbers, and the estimates to choose from.
"use strict";

const DIALS = {
  azimuth: { radius: 44, low: -180, high: 180, center: [0, 0] },
  elevation: { radius: 60, low: -30, high: 90, center: [-22, 18] },
};
const NUMBERS = [...Object.keys(DIALS), "roll"];
const PAUSE = 600; // milliseconds after the last key until the object is made again

const wrapped = (degrees) => ((((degrees + 180) % 360) + 360) % 360) - 180;
const percent = (chance) => (chance === null ? "" : ` · ${chance < 0.01 ? "under 1" : Math.min(99, Math.round(100 * chance))}%`);
const whole = (angle) => String(Math.round(angle)).replace("-", "−");
const named = ({ azimuth, elevation }) => `${whole(azimuth)}°, ${whole(elevation)}°`;

class CameraPanel {
  /** `turned` is told a direction while it changes, `chosen` once it is settled. */
  constructor(turned, chosen) {
    Object.assign(this, { turned, chosen, job: null, picture: 0, known: [], made: [], pending: new Map() });
    for (const name of Object.keys(DIALS)) this.listen(name);
    for (const name of NUMBERS) this.listenToNumber(name);
  }

  /** The cameras of a job; those in `known` were given, null for those that were found. */
  show(job, known) {
    const made = job.cameras.map((_, i) => known[i] || null);
    Object.assign(this, { job, made, known: [...made] });
    this.picture = Math.min(this.picture, Math.max(0, job.cameras.length - 1));
    $("seen").hidden = !job.cameras.length;
    if (!job.cameras.length) return;
    this.showPictures();
    this.choose(this.picture);
  }

  /** The cameras to ask for: as they are set now, null where they are to be found. */
  asked() {
    for (const [picture, direction] of this.pending) this.known[picture] = direction;
    this.forget();
    return [...this.known];
  }

  /** What was set since the last object was asked for is void. */
  forget() {
    clearTimeout(this.timer);
    this.pending.clear();
  }

  /** All cameras are to be found. */
  find() {
    this.forget();
    this.known = this.known.map(() => null);
  }

  /** The cameras of the object that is shown, after others were asked for in vain. */
  restore() {
    this.forget();
    this.known = [...this.made];
    this.choose(this.picture);
    this.rewrite();
  }

  /** The numbers again, also into a field that somebody types in. */
  rewrite() {
    if (this.direction) for (const name of NUMBERS) this.write(name);
  }

  showPictures() {
    const { job } = this;
    const buttons = job.cameras.map((_, i) => {
      const image = new Image();
      image.src = `/api/jobs/${job.id}/cutouts/${i}`;
      image.alt = `picture ${i + 1} without its background`;
      const button = element("button", image);
      button.disabled = job.cameras.length < 2;
      button.addEventListener("click", () => this.choose(i));
      return button;
    });
    exchange($("cutouts"), buttons);
    const strange = job.cameras.flatMap((camera, i) => (camera.agrees ? [] : [i + 1]));
    $("disagree").hidden = !strange.length;
    $("disagree").textContent = `Picture ${strange.join(" and ")} may be of another object.`;
    $("refind").hidden = !this.known.some(Boolean);
  }

  /** Show one picture's camera. */
  choose(picture) {
    this.picture = picture;
    [...$("cutouts").children].forEach((button, i) => button.setAttribute("aria-pressed", i === picture && !button.disabled));
    const estimates = this.job.estimates[picture];
    exchange($("estimates"), estimates.map((estimate) => {
      const button = element("button", named(estimate) + percent(estimate.chance));
      button.addEventListener("click", () => {
        this.change(estimate);
        this.settle();
      });
      return button;
    }));
    for (const [name, dial] of Object.entries(DIALS)) {
      const others = estimates.map((estimate) => {
        const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
        const [x, y] = place(dial.radius, estimate[name]);
        for (const [key, value] of [["cx", x], ["cy", y], ["r", 2.5]]) dot.setAttribute(key, value);
        return dot;
      });
      $(`dial-${name}`).querySelector(".others").replaceChildren(...others);
    }
    const { distance, lens_known } = this.job.cameras[picture];
    $("distance").textContent = `${distance.toFixed(1)} object sizes away, ${lens_known ? "by the picture’s lens" : "it seems"}`;
    this.set(this.pending.get(picture) || this.job.cameras[picture]);
    this.turned(this.direction);
  }

  set({ azimuth, elevation, roll }) {
    this.direction = { azimuth: wrapped(azimuth), elevation, roll };
    for (const name of NUMBERS) if ($(name) !== document.activeElement) this.write(name);
    for (const name of Object.keys(DIALS)) {
      const value = Math.round(this.direction[name]);
      const svg = $(`dial-${name}`);
      svg.querySelector(".eye").setAttribute("transform", `rotate(${-this.direction[name]})`);
      svg.setAttribute("aria-valuenow", value);
      svg.setAttribute("aria-valuetext", `${value} degrees`);
    }
    for (const button of $("estimates").children) button.setAttribute("aria-pressed", button.textContent.startsWith(named(this.direction)));
  }

  /** A number into its field: to the degree where it was found, as it was set else. */
  write(name) {
    const parts = this.known[this.picture] || this.pending.has(this.picture) ? 10 : 1;
    $(name).value = Math.round(parts * this.direction[name]) / parts;
  }

  change({ azimuth = this.direction.azimuth, elevation = this.direction.elevation, roll = this.direction.roll }) {
    this.pending.set(this.picture, { azimuth: wrapped(azimuth), elevation, roll });
    this.set(this.pending.get(this.picture));
    this.turned(this.direction);
  }

  /** Have the object made again with what was changed, once nothing else runs. */
  settle() {
    clearTimeout(this.timer);
    if (!this.pending.size) return;
    if (document.body.ariaBusy === "true") this.settleSoon();
    else this.chosen();
  }

  settleSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle(), PAUSE);
  }

  listen(name) {
    const svg = $(`dial-${name}`), dial = DIALS[name];
    const clamp = (value) => (name === "azimuth" ? wrapped(value) : Math.max(dial.low, Math.min(dial.high, value)));
    const follow = (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const angle = (Math.atan2(dial.center[1] - at.y, at.x - dial.center[0]) * 180) / Math.PI;
      this.change({ [name]: clamp(Math.round(name === "elevation" && angle < -90 ? 90 : angle)) });
    };
    svg.addEventListener("pointerdown", (event) => {
      svg.setPointerCapture(event.pointerId);
      follow(event);
    });
    svg.addEventListener("pointermove", (event) => svg.hasPointerCapture(event.pointerId) && follow(event));
    svg.addEventListener("pointerup", () => this.settle());
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.change({ [name]: clamp(Math.round(this.direction[name]) + step * (event.shiftKey ? 10 : 1)) });
      this.settleSoon();
    });
  }

  listenToNumber(name) {
    $(name).addEventListener("input", () => {
      if (!$(name).checkValidity()) return clearTimeout(this.timer);
      this.change({ [name]: $(name).valueAsNumber });
      this.settleSoon();
    });
    $(name).addEventListener("change", () => {
      if ($(name).checkValidity()) return;
      say(`${expected($(name))}.`, true);
      this.restore();
    });
  }
}

/** What is wrong with the number in a field. */
function expected(field) {
  const { min, max } = field, kind = field.step === "any" ? "" : "a whole number from ";
  return `${field.labels[0].textContent.trim()}: expected ${kind}${min} to ${max}, found ${field.value || "none"}`;
}

/** A point of a dial's ring: zero is right, turning up. */
function place(radius, angle) {
  const a = (angle * Math.PI) / 180;
  return [radius * Math.cos(a), -radius * Math.sin(a)];
}
