// Calls per second of this client: `calls.js TARGET SECONDS CALLERS OUT`. Any answer counts, an error, too.
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { connect } from "cofactor";

const [target = "127.0.0.1:50051", seconds = "5", callers = "32", out = "/dev/stdout"] = process.argv.slice(2);
const client = connect(target, { clientId: "bench", clientSecret: "bench", tls: false });
const grant = { case: "mfaOtp", value: { mfaToken: "constant", otp: "123456" } } as const;

async function call(): Promise<void> {
  await client.tokens.issueToken({ grant }).catch((error: Error) => {
    if (/refused|deadline/i.test(error.message)) throw error; // nobody answered
  });
}

await call();
const firstCallMs = performance.now(); // since the process began
const [began, until] = [performance.now(), performance.now() + Number(seconds) * 1_000];
let calls = 0;
await Promise.all(
  Array.from({ length: Number(callers) }, async () => {
    for (; performance.now() < until; calls++) await call();
  }),
);
const took = (performance.now() - began) / 1_000;
client.close();

function kilobytes(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Math.round(files.reduce((sum, file) => sum + statSync(join(file.parentPath, file.name)).size, 0) / 1_024);
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const dependencies = ["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-node", "@connectrpc/connect-web"];
const size = kilobytes(join(root, "dist"));
const measured = {
  language: "typescript",
  calls,
  seconds: took,
  per_second: Math.round(calls / took),
  first_call_ms: Math.round(firstCallMs),
  size_kb: size,
  with_dependencies_kb: dependencies.reduce((sum, name) => sum + kilobytes(join(root, "node_modules", name)), size),
};
writeFileSync(out, `${JSON.stringify(measured)}\n`);
