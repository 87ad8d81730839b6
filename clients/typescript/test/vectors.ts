// Runs clients/vectors.json, as its `about` says.
import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { readFileSync } from "node:fs";

import { fromJson, toJson, type DescMethodUnary, type DescService, type JsonValue } from "@bufbuild/protobuf";
import { AuthenticatorService, ChallengeService, Code, CofactorError, TokenService, bearer, type Cofactor } from "cofactor";
import { AuthenticatorApp, type TestServer } from "cofactor/testing";

type Names = Record<string, string>;

interface Refused {
  readonly code: string;
  readonly reason: string;
  readonly message?: string;
  readonly retry_delay?: boolean;
  readonly fields?: readonly string[];
}

interface Step {
  readonly set?: Names;
  readonly advance?: number;
  readonly outbox?: { readonly to: string };
  readonly rpc?: string;
  readonly request?: JsonValue;
  readonly client?: "demo" | "none" | "unknown";
  readonly bearer?: string;
  readonly expect?: JsonValue;
  readonly refused?: Refused;
  readonly save?: Names;
}

export interface Case {
  readonly name: string;
  readonly after?: string;
  readonly steps: readonly Step[];
}

interface Vectors {
  readonly version: number;
  readonly preludes: Record<string, readonly Step[]>;
  readonly cases: readonly Case[];
}

const vectors = JSON.parse(readFileSync(new URL("../../../vectors.json", import.meta.url), "utf8")) as Vectors;
const SERVICES: readonly DescService[] = [TokenService, ChallengeService, AuthenticatorService];
assert.equal(vectors.version, 1);

export function cases(): readonly Case[] {
  return vectors.cases;
}

/** Take the steps of one case, its prelude's first. */
export async function run({ name, after, steps }: Case, server: TestServer): Promise<void> {
  const { client_id, client_secret, username, password, realm, audience, issuer } = server.demo;
  const names: Names = { client_id, client_secret, username, password, realm, audience, issuer };
  names["subject"] = randomBytes(16).toString("hex");
  names["phone"] = `+4420718${String(randomInt(100_000)).padStart(5, "0")}`;
  const clients = {
    demo: server.connect(),
    none: server.connect({ clientId: undefined, clientSecret: undefined }),
    unknown: server.connect({ clientId: "unknown", clientSecret: "unknown" }),
  };
  try {
    for (const [number, step] of [...prelude(after), ...steps].entries()) {
      try {
        await take(step, names, server, clients);
      } catch (error) {
        throw new Error(`${name}, step ${number + 1}, prelude included: ${String(error)}`, { cause: error });
      }
    }
  } finally {
    Object.values(clients).forEach((client) => client.close());
  }
}

function prelude(name: string | undefined): readonly Step[] {
  if (name === undefined) {
    return [];
  }
  const found = vectors.preludes[name];
  assert.ok(found, name);
  return found;
}

async function take(step: Step, names: Names, server: TestServer, clients: Record<string, Cofactor>): Promise<void> {
  if (step.set !== undefined) {
    Object.assign(names, await filled(step.set, names, server));
  } else if (step.advance !== undefined) {
    await server.advance(step.advance);
  } else if (step.outbox !== undefined) {
    const { to } = (await filled(step.outbox, names, server)) as { to: string };
    names["code"] = (await server.messages(to)).at(-1)!.code;
  } else {
    assert.ok(step.rpc !== undefined, "a step of an unknown kind");
    const { rpc } = step;
    await call({ ...(await filled(step as JsonValue, names, server) as Step), rpc }, names, clients);
  }
}

async function call(step: Step & { rpc: string }, names: Names, clients: Record<string, Cofactor>): Promise<void> {
  const [serviceName, methodName] = step.rpc.split("/");
  const service = SERVICES.find(({ typeName }) => typeName === `cofactor.v1.${serviceName}`);
  const method = service?.methods.find(({ name }) => name === methodName) as DescMethodUnary;
  assert.ok(method, step.rpc);
  const { headers } = step.bearer === undefined ? { headers: {} } : bearer(step.bearer);
  const request = fromJson(method.input, step.request ?? {});
  const { transport } = clients[step.client ?? "demo"]!;
  let said: JsonValue;
  try {
    const response = await transport.unary(method, undefined, undefined, headers, request);
    said = toJson(method.output, response.message);
  } catch (thrown) {
    assert.ok(step.refused !== undefined, String(thrown));
    refusedAs(thrown, step.refused);
    return;
  }
  assert.ok(step.refused === undefined, `not refused: ${step.refused?.reason}`);
  fits(said, step.expect ?? {}, "");
  for (const [name, path] of Object.entries(step.save ?? {})) {
    names[name] = at(said, path);
  }
}

function refusedAs(thrown: unknown, wanted: Refused): void {
  const error = CofactorError.from(thrown);
  const code = Code[error.code].replace(/(?<=[a-z])[A-Z]/g, "_$&").toUpperCase();
  assert.deepEqual(
    {
      code,
      reason: error.reason,
      message: wanted.message === undefined ? undefined : error.message,
      retry_delay: (error.retryDelayMs ?? 0) > 0,
      fields: error.violations.map(({ field }) => field),
    },
    { retry_delay: false, fields: [], message: undefined, ...wanted },
  );
}

function fits(said: JsonValue | undefined, wanted: JsonValue, path: string): void {
  if (wanted === null) {
    assert.equal(said, undefined, path);
  } else if (wanted === "*") {
    assert.ok(said !== undefined && said !== "" && !(Array.isArray(said) && said.length === 0), path);
  } else if (Array.isArray(wanted)) {
    assert.ok(Array.isArray(said) && said.length === wanted.length, path);
    wanted.forEach((item, index) => fits((said as JsonValue[])[index], item, `${path}.${index}`));
  } else if (typeof wanted === "object") {
    assert.ok(typeof said === "object" && said !== null && !Array.isArray(said), path);
    Object.entries(wanted).forEach(([name, value]) => fits(said[name], value, `${path}.${name}`));
  } else {
    assert.equal(said, wanted, path);
  }
}

function at(said: JsonValue, path: string): string {
  const found = path.split(".").reduce<any>((value, name) => value?.[name], said);
  assert.equal(typeof found, "string", path);
  return found as string;
}

/** Replace the placeholders in every string. */
async function filled(value: JsonValue, names: Names, server: TestServer): Promise<JsonValue> {
  if (typeof value === "string") {
    let text = value;
    for (const [placeholder, kind] of value.matchAll(/\$\{([^}]+)\}/g)) {
      text = text.replace(placeholder, await meant(kind!, names, server));
    }
    return text;
  }
  if (Array.isArray(value)) {
    return Promise.all(value.map((item) => filled(item, names, server)));
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(async ([name, item]) => [name, await filled(item, names, server)] as const);
    return Object.fromEntries(await Promise.all(entries));
  }
  return value;
}

async function meant(placeholder: string, names: Names, server: TestServer): Promise<string> {
  const [kind, name] = placeholder.includes(":") ? placeholder.split(":") : ["", placeholder];
  const kept = () => {
    assert.ok(name! in names, `nothing is kept as ${name}`);
    return names[name!]!;
  };
  switch (kind) {
    case "":
      return name === "now" ? (await server.now()).toISOString().replace(/\.\d+Z$/, "Z") : kept();
    case "totp":
      return new AuthenticatorApp(kept(), server).codeAt(await server.now());
    case "wrong":
      return kept().slice(0, -1) + String((Number(kept().at(-1)) + 1) % 10);
    default:
      throw new Error(`an unknown placeholder: ${placeholder}`);
  }
}
