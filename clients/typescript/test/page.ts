// The program of a page in a browser: tests/browser bundles it, and calls `cofactorPage`.
import { ChallengeState, CofactorError, FactorKind, bearer, connectWeb, type Cofactor } from "cofactor/web";

interface Asked {
  readonly url: string;
  readonly clientId: string;
  readonly username: string;
  readonly password: string;
}

let client: Cofactor;

async function login({ username, password }: Asked): Promise<string> {
  const outcome = await client.issue({ grant: { case: "password", value: { username, password } } });
  if (outcome.case !== "mfaRequired") throw new Error(outcome.case);
  return outcome.mfaRequired.mfaToken;
}

async function reason(call: Promise<unknown>): Promise<string> {
  const thrown: unknown = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  return thrown instanceof CofactorError ? thrown.reason || `code ${thrown.code}` : String(thrown);
}

/** What the test calls, step by step. */
const page = {
  connect({ url, clientId }: Asked): void {
    client = connectWeb(url, { clientId });
  },
  login,
  async enrollApp(mfaToken: string): Promise<string> {
    const begun = await client.authenticators.enrollAuthenticator(
      { authenticator: { case: "totp", value: {} } },
      bearer(mfaToken),
    );
    return begun.enrollment.case === "otpSecret" ? begun.enrollment.value.secret : "";
  },
  async redeem(mfaToken: string, otp: string): Promise<string> {
    const call = client.issue({ grant: { case: "mfaOtp", value: { mfaToken, otp } } });
    return call.then(({ case: kind }) => kind, () => reason(call));
  },
  wrongPassword: (asked: Asked) => reason(login({ ...asked, password: "wrong" })),
  vouch: () => reason(client.issue({ grant: { case: "vouched", value: { realm: "demo", subject: "x" } } })),
  async enrollDevice(mfaToken: string): Promise<{ barcodeUri: string; oobCode: string }> {
    const begun = await client.authenticators.enrollAuthenticator(
      { authenticator: { case: "push", value: {} } },
      bearer(mfaToken),
    );
    if (begun.enrollment.case !== "pairing") throw new Error(begun.enrollment.case);
    const { barcodeUri, oobCode } = begun.enrollment.value;
    return { barcodeUri, oobCode };
  },
  async prompt(mfaToken: string): Promise<{ oobCode: string; number: string }> {
    const { oobCode, prompt } = await client.challenges.createChallenge({ kinds: [FactorKind.PUSH] }, bearer(mfaToken));
    return { oobCode, number: prompt.case === "device" ? prompt.value.number : "" };
  },
  /** Begin to watch; `heard` tells of it, and how it ended is told by `redeemed`. */
  watch(mfaToken: string, oobCode: string): void {
    redeemed = (async () => {
      for await (const state of client.watch(mfaToken, oobCode, { timeoutMs: 60_000 })) heard.push(ChallengeState[state]);
      return (await client.awaitTokens(mfaToken, oobCode, { timeoutMs: 60_000 })).case;
    })();
  },
  heard: () => heard,
  redeemed: () => redeemed,
};

const heard: string[] = [];
let redeemed: Promise<string>;

declare global {
  var cofactorPage: typeof page;
}
globalThis.cofactorPage = page;
