// What every client proves, alike in every language, against one live server.
import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { after, before, test } from "node:test";

import { ChallengeState, Code, CofactorError, bearer, connect, type Cofactor, type Redeemed } from "cofactor";
import { AuthenticatorApp, Phone, PushDevice, SecurityKey, TestServer } from "cofactor/testing";

import { cases, run } from "./vectors.js";

let server: TestServer;
let client: Cofactor;

before(async () => {
  server = await TestServer.join();
  client = server.connect();
});

after(async () => {
  client.close();
  await server.stop();
});

function row(name: string, proof: () => Promise<void>): void {
  test(name, async () => {
    await proof();
    if (process.env["COFACTOR_ROWS"]) {
      appendFileSync(process.env["COFACTOR_ROWS"], `${JSON.stringify({ row: name })}\n`);
    }
  });
}

/** Log a user in with the first factor, and return the mfa_token. */
async function login(subject: string, at = server, by = client): Promise<string> {
  const outcome = await at.vouch(by, subject);
  assert.equal(outcome.case, "mfaRequired");
  return outcome.mfaRequired.mfaToken;
}

interface Enrolled {
  subject: string;
  app: AuthenticatorApp;
  recoveryCode: string;
}

/** A new user who has an authenticator app, and has just logged in with it. */
async function enrolled(): Promise<Enrolled> {
  const subject = crypto.randomUUID();
  const mfaToken = await login(subject);
  const begun = await client.authenticators.enrollAuthenticator(
    { authenticator: { case: "totp", value: {} } },
    bearer(mfaToken),
  );
  assert.equal(begun.enrollment.case, "otpSecret");
  const app = new AuthenticatorApp(begun.enrollment.value.barcodeUri, server);
  const tokens = accepted(await otp(mfaToken, await app.code()));
  assert.equal(tokens.tokenType, "Bearer");
  assert.equal(tokens.accessToken.split(".").length, 3);
  return { subject, app, recoveryCode: begun.recoveryCodes[0]! };
}

async function otp(mfaToken: string, code: string): Promise<Redeemed> {
  const outcome = await client.issue({ grant: { case: "mfaOtp", value: { mfaToken, otp: code } } });
  assert.notEqual(outcome.case, "pending");
  return outcome as Redeemed;
}

function accepted(outcome: Redeemed) {
  assert.equal(outcome.case, "tokens");
  return outcome.tokens;
}

async function refusal(call: Promise<unknown>): Promise<CofactorError> {
  const thrown: unknown = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(thrown instanceof CofactorError, `${thrown}`);
  return thrown;
}

/** Enroll a device for a new user: pairing it confirms it. */
async function withDevice(at = server, by = client): Promise<{ subject: string; device: PushDevice }> {
  const subject = crypto.randomUUID();
  const mfaToken = await login(subject, at, by);
  const begun = await by.authenticators.enrollAuthenticator(
    { authenticator: { case: "push", value: {} } },
    bearer(mfaToken),
  );
  assert.equal(begun.enrollment.case, "pairing");
  const { oobCode } = begun.enrollment.value;
  const [tokens, device] = await Promise.all([
    by.awaitTokens(mfaToken, oobCode, { timeoutMs: 30_000 }),
    PushDevice.pair(at, begun.enrollment.value),
  ]);
  accepted(tokens);
  return { subject, device };
}

async function prompted(mfaToken: string, by = client): Promise<{ oobCode: string; number: string }> {
  const { oobCode, prompt } = await by.challenges.createChallenge({}, bearer(mfaToken));
  assert.equal(prompt.case, "device");
  return { oobCode, number: prompt.value.number };
}

row("enroll_otp", async () => {
  const { recoveryCode } = await enrolled();
  assert.equal(recoveryCode.length, 24);
});

row("verify", async () => {
  const { subject, app } = await enrolled();
  const mfaToken = await login(subject);
  const wrong = await refusal(otp(mfaToken, await app.wrongCode()));
  assert.deepEqual([wrong.code, wrong.reason, wrong.retryDelayMs], [Code.Unauthenticated, "INVALID_OTP", undefined]);
  accepted(await otp(mfaToken, await app.code()));
});

row("recovery", async () => {
  const { subject, recoveryCode } = await enrolled();
  const mfaToken = await login(subject);
  const grant = { case: "mfaRecoveryCode", value: { mfaToken, recoveryCode } } as const;
  const outcome = await client.issue({ grant });
  const next = accepted(outcome as Redeemed).recoveryCode;
  assert.equal(next.length, 24);
  assert.notEqual(next, recoveryCode);
  const again = { ...grant, value: { ...grant.value, mfaToken: await login(subject) } };
  assert.equal((await refusal(client.issue({ grant: again }))).reason, "INVALID_RECOVERY_CODE");
});

row("push_watch", async () => {
  const { subject, device } = await withDevice();
  const mfaToken = await login(subject);
  const { oobCode, number } = await prompted(mfaToken);
  const states: ChallengeState[] = [];
  const watched = (async () => {
    for await (const state of client.watch(mfaToken, oobCode, { timeoutMs: 30_000 })) states.push(state);
  })();
  const prompt = await device.prompt(AbortSignal.timeout(30_000));
  assert.equal(prompt.numberWanted, true);
  assert.equal(await device.approve(prompt, number, await server.now()), ChallengeState.APPROVED);
  await watched;
  assert.deepEqual(states.slice(-2), [ChallengeState.PENDING, ChallengeState.APPROVED]);
  accepted(await client.awaitTokens(mfaToken, oobCode, { timeoutMs: 30_000 }));

  const second = await login(subject);
  const denied = await prompted(second);
  const waiting = refusal(client.awaitTokens(second, denied.oobCode, { timeoutMs: 30_000 }));
  await device.deny(await device.prompt(AbortSignal.timeout(30_000)), await server.now());
  assert.equal((await waiting).reason, "CHALLENGE_DENIED");
});

row("webauthn", async () => {
  const subject = crypto.randomUUID();
  const key = new SecurityKey();
  let mfaToken = await login(subject);
  const begun = await client.authenticators.enrollAuthenticator(
    { authenticator: { case: "webauthn", value: {} } },
    bearer(mfaToken),
  );
  assert.equal(begun.enrollment.case, "webauthn");
  let asked: { oobCode: string; publicKeyJson: string } = begun.enrollment.value;
  for (let time = 0; time < 3; time++) {
    const credentialJson = key.answer(asked.publicKeyJson);
    const value = { mfaToken, oobCode: asked.oobCode, credentialJson };
    accepted((await client.issue({ grant: { case: "mfaWebauthn", value } })) as Redeemed);
    mfaToken = await login(subject);
    const { oobCode, prompt } = await client.challenges.createChallenge({}, bearer(mfaToken));
    assert.equal(prompt.case, "webauthn");
    asked = { oobCode, publicKeyJson: prompt.value.publicKeyJson };
  }
});

row("retry_delay", async () => {
  const { subject, app } = await enrolled();
  const mfaToken = await login(subject);
  const wrong = await app.wrongCode();
  let error = await refusal(otp(mfaToken, wrong));
  for (let guess = 1; guess < 40 && error.code !== Code.ResourceExhausted; guess++) {
    assert.equal(error.reason, "INVALID_OTP");
    error = await refusal(otp(mfaToken, wrong));
  }
  assert.deepEqual([error.code, error.reason], [Code.ResourceExhausted, "TOO_MANY_FAILED_CODES"]);
  assert.ok(error.retryDelayMs! > 0);
  await server.advance(Math.ceil(error.retryDelayMs! / 1_000));
  accepted(await otp(await login(subject), await app.code()));
});

row("deadline", async () => {
  const { subject } = await withDevice();
  const mfaToken = await login(subject);
  const { oobCode } = await prompted(mfaToken);
  const watched = client.awaitTokens(mfaToken, oobCode, { timeoutMs: 300 });
  assert.equal((await refusal(watched)).code, Code.DeadlineExceeded);

  const silent = createServer().listen(0, "127.0.0.1"); // takes connections and never says a word
  await new Promise((resolve) => silent.once("listening", resolve));
  const { port } = silent.address() as AddressInfo;
  const waiting = connect(`127.0.0.1:${port}`, { tls: false, timeoutMs: 300 });
  const began = performance.now();
  const late = await refusal(waiting.tokens.getJsonWebKeySet({}));
  assert.deepEqual([late.code, late.reason, performance.now() - began < 5_000], [Code.DeadlineExceeded, "", true]);
  waiting.close();
  silent.close();
});

row("mtls", async () => {
  const known = server.connectTls();
  accepted(await sms(known));
  known.close();
  const { tls_client_id: clientId, grpc_tls } = server.demo.test;
  const unknown = connect(grpc_tls, { clientId, timeoutMs: 3_000 }); // neither its certificate nor the server's authority
  assert.equal((await refusal(server.vouch(unknown))).reason, "");
  unknown.close();
  const bare = server.connect({ clientId, clientSecret: undefined }); // without the certificate the id stands for nobody
  assert.equal((await refusal(server.vouch(bare))).reason, "INVALID_CLIENT");
  bare.close();
});

/** Enroll a telephone, and log in by what it is sent. */
async function sms(by: Cofactor): Promise<Redeemed> {
  const number = `+4420718${String(Math.floor(Math.random() * 100_000)).padStart(5, "0")}`;
  const phone = new Phone(number, server);
  const mfaToken = await login(crypto.randomUUID(), server, by);
  const begun = await by.authenticators.enrollAuthenticator(
    { authenticator: { case: "sms", value: { phoneNumber: number } } },
    bearer(mfaToken),
  );
  assert.equal(begun.enrollment.case, "oob");
  return by.awaitTokens(mfaToken, begun.enrollment.value.oobCode, { bindingCode: await phone.code() });
}

row("reconnect", async () => {
  const own = await TestServer.start();
  const by = own.connect();
  try {
    const { subject, device } = await withDevice(own, by);
    const mfaToken = await login(subject, own, by);
    const { oobCode, number } = await prompted(mfaToken, by);
    const states: ChallengeState[] = [];
    let begun = () => undefined as void;
    const first = new Promise<void>((resolve) => (begun = resolve));
    const watched = (async () => {
      for await (const state of by.watch(mfaToken, oobCode, { timeoutMs: 120_000 })) {
        states.push(state);
        begun();
      }
    })();
    await first;
    await own.restart();
    const prompt = await device.prompt(AbortSignal.timeout(60_000));
    await device.approve(prompt, number, await own.now());
    await watched;
    assert.deepEqual(states, [ChallengeState.PENDING, ChallengeState.APPROVED]);
    accepted(await by.awaitTokens(mfaToken, oobCode, { timeoutMs: 30_000 }));
  } finally {
    by.close();
    await own.stop();
  }
});

row("vectors", async () => {
  const done: string[] = [];
  for (const each of cases()) {
    await run(each, server);
    done.push(each.name);
  }
  assert.ok(done.length > 20);
});
