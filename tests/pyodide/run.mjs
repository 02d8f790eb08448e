// Run tests of retrywrap in Pyodide: CPython as WebAssembly, which has no threads, no processes and no sockets.
//
//     node --stack-size=6000 run.mjs FOLDER SOURCE [argument of pytest ...]
//
// In FOLDER the npm package that package.json names is installed, and FOLDER/wheels holds pure Python wheels: retrywrap,
// hypothesis, pytest, rich, and what these need. SOURCE is the source distribution (.tar.gz) that holds the tests. The stack
// is for tests of endless recursion.
import { readFileSync, readdirSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const bytes = (path) => new Uint8Array(readFileSync(path));
const [folder, source, ...options] = process.argv.slice(2);
const wheels = join(folder, "wheels");
const found = createRequire(join(resolve(folder), "run.mjs")).resolve("pyodide/pyodide.mjs");
const { loadPyodide } = await import(pathToFileURL(found).href);
const pyodide = await loadPyodide({
  args: ["-X", "utf8"],
  env: { HOME: "/home/pyodide", PYTHONHASHSEED: "0", COLUMNS: "120" },
});
for (const [set, to] of [[pyodide.setStdout, 1], [pyodide.setStderr, 2]]) {
  set({ write: (buffer) => writeSync(to, buffer) }); // not by lines: pytest's dots are none
}
const site = pyodide.runPython("import sysconfig; sysconfig.get_path('purelib')");
for (const name of readdirSync(wheels).filter((each) => each.endsWith(".whl"))) {
  pyodide.unpackArchive(bytes(join(wheels, name)), "zip", { extractDir: site });
}
pyodide.unpackArchive(bytes(source), "gztar", { extractDir: "/source" });
const runner = readFileSync(new URL("runner.py", import.meta.url), "utf8");
const main = pyodide.runPython(runner + "\nmain", { filename: "runner.py" });
process.exitCode = main("/source", pyodide.toPy(options));
