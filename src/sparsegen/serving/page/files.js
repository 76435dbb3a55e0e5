// Files: those that are chosen, dropped or pasted, and the one to download.
"use strict";

const GAUSSIANS = /\.(ply|spz|glb|gltf|splat)$/i;
const MOST = 4; // pictures of one object

/** Pictures make an object, a Gaussian file is one: the input that files come by tells them apart, or their names. */
function take(files, input = "") {
  if (!files.length) return;
  if (stop) return busy();
  const images = files.filter((file) => (input ? input === "pictures" : !GAUSSIANS.test(file.name)));
  const used = images.length ? images : files.slice(0, 1);
  const left = files.filter((file) => !used.includes(file)).map((file) => file.name);
  attempt(async (signal) => {
    await (images.length ? makeFrom(images, signal) : openFile(files[0]));
    if (left.length) say(`${good} Left out: ${left.join(", ")}.`);
  }, images.length ? "Sending" : "Opening the file");
}

function makeFrom(images, signal) {
  const taken = images.map((file) => ({ file, box: null }));
  const same = $("more").checked && pictures.length > 0;
  return makeOf(same ? [...pictures, ...taken] : taken, signal, same);
}

/** Make the object of these pictures, which are then the page's. */
async function makeOf(wanted, signal, same) {
  const before = pictures;
  pictures = wanted;
  try {
    if (pictures.length > MOST) throw new Error(`${pictures.length} pictures: expected at most ${MOST} of one object; leave some out.`);
    await make(signal, same);
  } catch (error) {
    pictures = before;
    const [, number] = /^picture (\d+): .* box /.exec(error.message) || [];
    if (number) boxing.open(wanted, number - 1); // what it could not cut out
    throw error;
  }
}

async function openFile(file) {
  await show(await api.open(file), [], false, file.name);
  pictures = [];
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

function listenToFiles() {
  for (const id of ["pictures", "file"]) $(id).addEventListener("change", (event) => {
    take([...event.target.files], id);
    event.target.value = "";
  });
  addEventListener("paste", (event) => take([...event.clipboardData.files]));
  addEventListener("dragover", (event) => { event.preventDefault(); $("stage").classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("stage").classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("stage").classList.remove("over");
    take([...event.dataTransfer.files]);
  });
  $("download").addEventListener("click", () => attempt(download, "Writing the file"));
}
