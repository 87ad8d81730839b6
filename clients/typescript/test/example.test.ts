// The example runs as it stands.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

test("the example logs in, is refused, and waits for a device", async () => {
  const program = fileURLToPath(new URL("../example/login.js", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [program], { timeout: 120_000 });
  const said = stdout.trim().split("\n");
  assert.match(said[1]!, /^Refused: INVALID_OTP/);
  assert.deepEqual([said[0], said[3]], ["Write down: 1 recovery code", "Approved on the device: tokens"]);
});
