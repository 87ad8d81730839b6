// Unpacks Chromium, and the libraries that a bare machine lacks, into the folder that the argument names.
import {execFileSync} from "node:child_process";
import {createReadStream, createWriteStream} from "node:fs";
import {chmod, mkdir, rm, writeFile} from "node:fs/promises";
import {dirname, join, resolve} from "node:path";
import {pipeline} from "node:stream/promises";
import {fileURLToPath} from "node:url";
import {createBrotliDecompress} from "node:zlib";

const target = resolve(process.argv[2]);
const bin = join(dirname(fileURLToPath(import.meta.url)), "node_modules/@sparticuz/chromium/bin");

async function decompress(name, file) {
  await pipeline(createReadStream(join(bin, name)), createBrotliDecompress(), createWriteStream(file));
}

await rm(target, {recursive: true, force: true});
await mkdir(target, {recursive: true});
await decompress("chromium.br", join(target, "headless_shell"));
for (const name of ["al2023", "fonts", "swiftshader"]) {
  const file = join(target, `${name}.tar`);
  await decompress(`${name}.tar.br`, file);
  execFileSync("tar", ["-xf", file, "-C", target]);
  await rm(file);
}
// The package's own settings look for fonts elsewhere, and a page without fonts shows no text.
const fonts = `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir>${join(target, "fonts")}</dir>
  <cachedir>${join(target, "fonts-cache")}</cachedir>
</fontconfig>
`;
await writeFile(join(target, "fonts.conf"), fonts);
// The machine's own libraries come first: those of the package are there for machines that have none.
const wrapper = `#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="\${LD_LIBRARY_PATH:-/usr/lib/$(uname -m)-linux-gnu}:$here/lib"
export FONTCONFIG_PATH="$here"
exec "$here/headless_shell" "$@"
`;
await writeFile(join(target, "chromium"), wrapper);
await chmod(join(target, "headless_shell"), 0o755);
await chmod(join(target, "chromium"), 0o755);
