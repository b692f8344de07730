// Command line of the native Solidity compiler on top of npm's WebAssembly build.
//
// py-solc-x and ape-solidity talk to an executable: `--version`, and `--standard-json` with the
// request on stdin and the answer on stdout. npm's own `solc.js` prints more than the JSON and
// has no `--allow-paths`, so it cannot stand in.
"use strict";

const fs = require("fs");
const path = require("path");
const solc = require("solc");

/** Directories that imports may be read from, in order, as given by `--base-path` and friends. */
function importRoots(args) {
  const roots = [];
  for (let i = 0; i < args.length - 1; i++) {
    if (args[i] === "--base-path") roots.unshift(args[i + 1]);
    if (args[i] === "--include-path") roots.push(args[i + 1]);
  }
  return roots.length > 0 ? roots : [process.cwd()];
}

function readImport(roots, name) {
  for (const root of roots) {
    const file = path.resolve(root, name);
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, "utf8") };
  }
  return { error: `File not found in ${roots.join(", ")}: ${name}` };
}

const args = process.argv.slice(2);
if (args.includes("--version")) {
  console.log("solc, the solidity compiler commandline interface");
  console.log(`Version: ${solc.version()}`);
} else if (args.includes("--standard-json")) {
  const roots = importRoots(args);
  const answer = solc.compile(fs.readFileSync(0, "utf8"), {
    import: (name) => readImport(roots, name),
  });
  process.stdout.write(answer + "\n");
} else {
  console.error("unrecognised option: this compiler serves --version and --standard-json only");
  process.exitCode = 1;
}
