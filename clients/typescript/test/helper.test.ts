// What the helper does of itself, against a server of these tests on real sockets.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Http2Server } from "node:http2";
import { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { inspect } from "node:util";

import { create } from "@bufbuild/protobuf";
import { ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import {
  ChallengeService,
  Code,
  CofactorError,
  IssueTokenResponseSchema,
  TokenService,
  connect,
  type IssueTokenRequest,
  type IssueTokenResponse,
} from "cofactor";
import { connectWeb } from "cofactor/web";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "#details";

const SECRET = "vErY-sEcReT-vErY-sEcReT";
const OTP = { case: "mfaOtp", value: { mfaToken: "t", otp: "123456" } } as const;

type Answer = (request: IssueTokenRequest, context: HandlerContext) => IssueTokenResponse;
let answers: Answer[] = [];
let heard: IssueTokenRequest[] = [];
let unwatched: () => ConnectError;
let server: Http2Server;
let target: string;

function routes(router: ConnectRouter): void {
  router.service(TokenService, {
    issueToken(request, context) {
      heard.push(request);
      return (answers.length > 1 ? answers.shift()! : answers[0]!)(request, context);
    },
  });
  router.service(ChallengeService, {
    // Nothing can be watched here.
    watchChallenge() {
      throw unwatched();
    },
  });
}

const tokens: Answer = () =>
  create(IssueTokenResponseSchema, { outcome: { case: "tokens", value: { accessToken: "a.b.c" } } });
const pending: Answer = () =>
  create(IssueTokenResponseSchema, {
    outcome: { case: "answerPending", value: { pollInterval: { seconds: 0n, nanos: 20_000_000 } } },
  });

function refuses(code: Code, reason = "", more: Partial<{ field: string; nanos: number }> = {}): Answer {
  return () => {
    const error = new ConnectError("no", code);
    if (reason) error.details.push({ desc: ErrorInfoSchema, value: { reason, domain: "cofactor.v1", metadata: { a: "b" } } });
    if (more.field) error.details.push({ desc: BadRequestSchema, value: { fieldViolations: [{ field: more.field, description: "is bad" }] } });
    if (more.nanos) error.details.push({ desc: RetryInfoSchema, value: { retryDelay: { seconds: 1n, nanos: more.nanos } } });
    throw error;
  };
}

async function refusal(call: Promise<unknown>): Promise<CofactorError> {
  const thrown: unknown = await call.catch((error: unknown) => error);
  assert.ok(thrown instanceof CofactorError, inspect(thrown));
  return thrown;
}

before(async () => {
  server = createServer(connectNodeAdapter({ routes })).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});

after(() => server.close());

beforeEach(() => {
  heard = [];
  unwatched = () => new ConnectError("no", Code.Unimplemented);
});

test("plaintext does not leave this machine unless it is told to", () => {
  for (const elsewhere of ["mfa.example.com:443", "10.0.0.1:50051", "127.0.0.1.example.com:1", "[2001:db8::1]:1", "0.0.0.0:1"]) {
    assert.throws(() => connect(elsewhere, { tls: false }), /another machine/);
    connect(elsewhere, { tls: false, allowPlaintext: true }).close();
    connect(elsewhere).close();
  }
  for (const here of ["127.0.0.1:1", "127.1.2.3:1", "localhost:1", "[::1]:1", "unix:/run/cofactor.sock"]) {
    connect(here, { tls: false }).close();
  }
  assert.throws(() => connectWeb("http://mfa.example.com/", { clientId: "c" }), /https/);
});

test("what is no target is refused", () => {
  for (const bad of ["", "http://localhost:1", "a@localhost:1", "localhost:1/x", "localhost:1?x", "local host:1", "localhost:99999"]) {
    assert.throws(() => connect(bad, { tls: false }), TypeError, bad);
  }
});

test("a server that is away is asked again, with one request id, and no more than four times", async () => {
  const client = connect(target, { clientId: "c", clientSecret: SECRET, tls: false });
  answers = [refuses(Code.Unavailable), refuses(Code.Unavailable), tokens];
  assert.equal((await client.issue({ grant: OTP })).case, "tokens");
  assert.equal(heard.length, 3);
  assert.equal(new Set(heard.map(({ requestId }) => requestId)).size, 1);
  assert.match(heard[0]!.requestId, /^[0-9a-f-]{36}$/);

  heard = [];
  answers = [refuses(Code.Unavailable)];
  assert.equal((await refusal(client.issue({ grant: OTP }))).code, Code.Unavailable);
  assert.equal(heard.length, 4);
  client.close();
});

test("a request id is of one call, and a caller's own is left alone", async () => {
  const client = connect(target, { clientId: "c", tls: false });
  answers = [tokens];
  await client.issue({ grant: OTP });
  await client.issue({ grant: OTP });
  await client.issue({ grant: OTP, requestId: "of-the-caller-itself" });
  await client.issue({ grant: { case: "password", value: { username: "u", password: "p" } } });
  const [first, second, third, fourth] = heard.map(({ requestId }) => requestId);
  assert.notEqual(first, second);
  assert.deepEqual([third, fourth], ["of-the-caller-itself", ""]);
  client.close();
});

test("a refusal is not repeated, and says everything that the server said", async () => {
  const client = connect(target, { clientId: "c", tls: false });
  answers = [refuses(Code.ResourceExhausted, "A_REASON_OF_TOMORROW", { field: "otp", nanos: 500_000_000 })];
  const error = await refusal(client.issue({ grant: OTP }));
  assert.equal(heard.length, 1);
  assert.deepEqual(
    [error.code, error.reason, error.message, error.retryDelayMs, error.metadata, error.violations],
    [Code.ResourceExhausted, "A_REASON_OF_TOMORROW", "no", 1_500, { a: "b" }, [{ field: "otp", description: "is bad" }]],
  );
  client.close();
});

test("nobody there is UNAVAILABLE", async () => {
  const client = connect("127.0.0.1:1", { tls: false });
  const error = await refusal(client.issue({ grant: OTP }));
  assert.deepEqual([error.code, error.reason], [Code.Unavailable, ""]);
  client.close();
});

test("the caller's signal ends a call that would be repeated", async () => {
  const client = connect("127.0.0.1:1", { tls: false });
  const stop = new AbortController();
  const call = client.issue({ grant: OTP }, { signal: stop.signal });
  stop.abort();
  await assert.rejects(call);
  client.close();
});

test("where nothing can be watched the answer is polled for", async () => {
  const client = connect(target, { clientId: "c", tls: false });
  answers = [pending, refuses(Code.Unavailable), pending, tokens];
  const outcome = await client.awaitTokens("t", "o", { intervalMs: 10, timeoutMs: 10_000 });
  assert.equal(outcome.case, "tokens");
  assert.equal(heard.length, 4);
  answers = [pending];
  assert.equal((await refusal(client.awaitTokens("t", "o", { intervalMs: 10, timeoutMs: 200 }))).code, Code.DeadlineExceeded);
  answers = [refuses(Code.PermissionDenied, "CHALLENGE_DENIED")];
  assert.equal((await refusal(client.awaitTokens("t", "o", { intervalMs: 10 }))).reason, "CHALLENGE_DENIED");
  client.close();
});

test("an access token, which watches nothing, polls; every other refusal ends the wait", async () => {
  const client = connect(target, { clientId: "c", tls: false });
  const refusing = (reason: string) => () => {
    const error = new ConnectError("no", Code.Unauthenticated);
    error.details.push({ desc: ErrorInfoSchema, value: { reason, domain: "cofactor.v1" } });
    return error;
  };
  answers = [tokens];
  unwatched = refusing("MFA_TOKEN_MALFORMED");
  assert.equal((await client.awaitTokens("access", "o", { intervalMs: 10 })).case, "tokens");
  unwatched = refusing("MFA_TOKEN_STALE");
  assert.equal((await refusal(client.awaitTokens("t", "o", { intervalMs: 10 }))).reason, "MFA_TOKEN_STALE");
  assert.equal(heard.length, 1);
  client.close();
});

test("credentials are sent and never shown", async () => {
  const client = connect(target, { clientId: "known", clientSecret: SECRET, tls: false });
  let said: string[] = [];
  answers = [
    (_, { requestHeader }) => {
      said = ["cofactor-client-id", "cofactor-client-secret"].map((name) => requestHeader.get(name) ?? "");
      return refuses(Code.Unauthenticated, "INVALID_CLIENT")(_, undefined as never);
    },
  ];
  const error = await refusal(client.issue({ grant: OTP }));
  assert.deepEqual(said, ["known", SECRET]);
  for (const shown of [inspect(client, { depth: 12, showHidden: true }), inspect(error, { depth: 12 }), JSON.stringify(client), String(error.stack)]) {
    assert.ok(!shown.includes(SECRET));
  }
  client.close();
});

test("a unix socket is a target", async () => {
  const folder = mkdtempSync(join(tmpdir(), "cofactor-"));
  const local = createServer(connectNodeAdapter({ routes })).listen(join(folder, "s"));
  await new Promise((resolve) => local.once("listening", resolve));
  const client = connect(`unix:${join(folder, "s")}`, { clientId: "c", tls: false });
  answers = [tokens];
  assert.equal((await client.issue({ grant: OTP })).case, "tokens");
  client.close();
  local.close();
  rmSync(folder, { recursive: true });
});
