// node babylon_reads.mjs OBJECT.glb FOUND.splat: what Babylon.js reads from a glTF file with Gaussians, as it
// hands it to its renderer: rows of a .splat file, in glTF's axes.
import { readFile, writeFile } from "node:fs/promises";
import { extname } from "node:path";

import { NullEngine } from "@babylonjs/core/Engines/nullEngine.js";
import { LoadAssetContainerAsync } from "@babylonjs/core/Loading/sceneLoader.js";
import { Logger } from "@babylonjs/core/Misc/logger.js";
import { Scene } from "@babylonjs/core/scene.js";
import "@babylonjs/loaders/glTF/2.0/index.js";

Logger.LogLevels = Logger.ErrorLogLevel;
const [source, target] = process.argv.slice(2);
const suffix = extname(source);
const bytes = new Uint8Array(await readFile(source));
const content = suffix === ".gltf" ? `data:${new TextDecoder().decode(bytes)}` : bytes;

const found = [];
await LoadAssetContainerAsync(content, new Scene(new NullEngine()), {
  pluginExtension: suffix,
  pluginOptions: {
    gltf: {
      onMeshLoaded: (mesh) => {
        mesh.updateDataAsync = async (rows) => found.push(rows);
      },
    },
  },
});
if (found.length !== 1) throw new Error(`${source}: holds ${found.length} sets of Gaussians`);
await writeFile(target, new Uint8Array(found[0]));
