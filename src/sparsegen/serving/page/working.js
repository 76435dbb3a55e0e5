// One thing at a time: what the page says while it works, what came of it, and where the keyboard is then.
"use strict";

const $ = (id) => document.getElementById(id);
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let stop = null; // stops what runs
let good = $("status").textContent; // what is so, and is said again where nothing else is to be said
let notice = ""; // for those who do not wait

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

/** Put buttons in the place of others; the keyboard stays at its place among them. */
function exchange(parent, buttons) {
  const place = [...parent.children].indexOf(document.activeElement);
  parent.replaceChildren(...buttons);
  buttons[place]?.focus({ preventScroll: true });
}

function write(text, wrong = false) {
  if ($("status").textContent !== text) $("status").textContent = text; // what is written is read aloud
  $("status").classList.toggle("wrong", wrong);
}

function say(text, wrong = false) {
  if (!wrong) good = text;
  write(text, wrong);
}

/** How far something is, 0 to 1; null where that is not known. */
function work(text, share = null) {
  write(`${text}…${notice}`);
  if (share === null) $("progress").removeAttribute("value");
  else $("progress").value = share;
  $("working").hidden = false;
}

function busy() {
  if (notice) return;
  notice = " Busy: cancel first, or wait.";
  write($("status").textContent + notice);
}

function setBusy(on) {
  document.body.ariaBusy = String(on);
  for (const control of document.querySelectorAll(".strong, #detail, .drop input")) control.disabled = on;
}

/** Run one thing at a time, show that it runs if it takes long, and say what went wrong. */
async function attempt(action, doing) {
  if (stop) return busy();
  const before = document.activeElement;
  stop = new AbortController();
  api.signal = stop.signal;
  setBusy(true);
  const slow = setTimeout(() => work(doing), 400);
  try {
    await action(stop.signal);
    write(good);
  } catch (error) {
    if (error.name === "AbortError") write("Cancelled.");
    else say(error.message, true);
  } finally {
    clearTimeout(slow);
    $("working").hidden = true;
    stop = api.signal = null;
    notice = "";
    setBusy(false);
    if (scrubLater) scrub();
    else refresh();
    refocus(before);
  }
}

const usable = (place) => place.isConnected && !place.matches("body, :disabled") && place.getClientRects().length > 0;

/** Where the keyboard was before, if its place is gone; the view, if that is gone too. */
function refocus(before) {
  const now = document.activeElement || document.body;
  if (usable(now) || (now === document.body && before === now)) return;
  const place = usable(before) ? before : editor?.job ? $("canvas") : $("pictures");
  place.focus({ preventScroll: true });
}
