// A vouched login: enroll an authenticator app, log in with it, then approve a login on a device. `make example` runs it
// against a throw-away server; an application has `connect("mfa.example.com:443", {clientId, clientSecret})` instead.
import { CofactorError, bearer, type Cofactor } from "cofactor";
import { AuthenticatorApp, PushDevice, TestServer } from "cofactor/testing";

const server = await TestServer.join();
const client: Cofactor = server.connect();

/** The application has checked the password, and says so. */
async function login(subject: string): Promise<string> {
  const outcome = await server.vouch(client, subject);
  if (outcome.case === "tokens") throw new Error("no second factor was asked for");
  return outcome.mfaRequired.mfaToken;
}

const [jane, john] = [crypto.randomUUID(), crypto.randomUUID()]; // what the application calls them

// Enroll: the user scans the QR code, and types the first code.
let mfaToken = await login(jane);
const totp = { authenticator: { case: "totp", value: {} } } as const;
const begun = await client.authenticators.enrollAuthenticator(totp, bearer(mfaToken));
if (begun.enrollment.case !== "otpSecret") throw new Error("no secret");
console.log("Write down:", begun.recoveryCodes.length, "recovery code");
const app = new AuthenticatorApp(begun.enrollment.value.barcodeUri, server);
await client.issue({ grant: { case: "mfaOtp", value: { mfaToken, otp: await app.code() } } });

// Log in: a wrong code is refused with a reason, the right one ends in tokens.
mfaToken = await login(jane);
for (const otp of [await app.wrongCode(), await app.code()]) {
  try {
    const outcome = await client.issue({ grant: { case: "mfaOtp", value: { mfaToken, otp } } });
    if (outcome.case === "tokens") console.log("Logged in for", outcome.tokens.expiresIn?.seconds, "seconds");
  } catch (error) {
    if (!(error instanceof CofactorError)) throw error;
    console.log("Refused:", error.reason, error.retryDelayMs ?? "");
  }
}

// Push: the device pairs, and the login waits until its user has approved.
mfaToken = await login(john);
const wanted = { authenticator: { case: "push", value: {} } } as const;
const push = await client.authenticators.enrollAuthenticator(wanted, bearer(mfaToken));
if (push.enrollment.case !== "pairing") throw new Error("no pairing");
const device = await PushDevice.pair(server, push.enrollment.value);
await client.awaitTokens(mfaToken, push.enrollment.value.oobCode);
mfaToken = await login(john);
const { oobCode, prompt } = await client.challenges.createChallenge({}, bearer(mfaToken));
const waiting = client.awaitTokens(mfaToken, oobCode);
const number = prompt.case === "device" ? prompt.value.number : "";
await device.approve(await device.prompt(), number, await server.now());
console.log("Approved on the device:", (await waiting).case);
client.close();
await server.stop();
