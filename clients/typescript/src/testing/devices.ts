// What users hold. Nothing here is the server's code: a mistake shared by both sides proves nothing.
import { createHash, createHmac, createSign, generateKeyPairSync, randomBytes, type KeyObject } from "node:crypto";

import { type Cofactor } from "../client.js";
import { type DevicePairing } from "../gen/cofactor/v1/authenticators_pb.js";
import { type ChallengeState } from "../gen/cofactor/v1/challenges_pb.js";
import { pause } from "../waiting.js";
import { type TestServer } from "./server.js";

/** An authenticator app, RFC 6238, by the server's clock. */
export class AuthenticatorApp {
  readonly #secret: Buffer;
  readonly #algorithm: string;
  readonly #digits: number;
  readonly #period: number;
  readonly #server: TestServer;
  #used = -1;

  /** Scan the QR code. */
  constructor(barcodeUri: string, server: TestServer) {
    const scanned = new URL(barcodeUri).searchParams;
    this.#secret = unbase32(scanned.get("secret") ?? "");
    this.#algorithm = (scanned.get("algorithm") ?? "SHA1").toLowerCase();
    this.#digits = Number(scanned.get("digits") ?? 6);
    this.#period = Number(scanned.get("period") ?? 30);
    this.#server = server;
  }

  /** Return a code that was not shown before; where the last one is still on, the server's clock is moved on. */
  async code(): Promise<string> {
    let step = this.#step(await this.#server.now());
    if (step <= this.#used) {
      step = this.#step(await this.#server.advance((this.#used + 1 - step) * this.#period));
    }
    this.#used = step;
    return this.#at(step);
  }

  /** Return a code that is right at no time near now. */
  async wrongCode(): Promise<string> {
    const step = this.#step(await this.#server.now());
    const right = new Set(Array.from({ length: 41 }, (_, n) => this.#at(step + n - 20)));
    for (let guess = 0; ; guess++) {
      const code = String(guess).padStart(this.#digits, "0");
      if (!right.has(code)) {
        return code;
      }
    }
  }

  /** The code that is shown at a moment. */
  codeAt(time: Date): string {
    return this.#at(this.#step(time));
  }

  #step(time: Date): number {
    return Math.floor(time.getTime() / 1_000 / this.#period);
  }

  #at(step: number): string {
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(step));
    const mac = createHmac(this.#algorithm, this.#secret).update(counter).digest();
    const number = mac.readUInt32BE(mac[mac.length - 1]! & 0x0f) & 0x7fffffff; // RFC 4226 section 5.3
    return String(number % 10 ** this.#digits).padStart(this.#digits, "0");
  }
}

/** A telephone or mailbox: what the server sent to it. */
export class Phone {
  #read = 0;

  constructor(
    readonly address: string,
    readonly server: TestServer,
  ) {}

  /** Return the code of the next message; one that is on its way is waited for. */
  async code(): Promise<string> {
    for (let tries = 0; tries < 100; tries++) {
      const messages = (await this.server.messages(this.address)).filter((message) => message.code !== "");
      if (messages.length > this.#read) {
        this.#read = messages.length;
        return messages.at(-1)!.code;
      }
      await pause(50);
    }
    throw new Error(`nothing was sent to ${this.address}`);
  }
}

/** What a device is asked. */
export interface Prompt {
  readonly challengeId: string;
  /** What the user sees before the decision; the answer holds the hash of these octets. */
  readonly shown: Uint8Array;
  readonly numberWanted: boolean;
}

/** A device for push, with a P-256 key that it made. */
export class PushDevice {
  readonly #client: Cofactor;
  readonly #key: KeyObject;
  readonly #issuer: string;
  readonly #user: string;
  readonly #device: string;

  private constructor(client: Cofactor, key: KeyObject, issuer: string, user: string, device: string) {
    this.#client = client;
    this.#key = key;
    this.#issuer = issuer;
    this.#user = user;
    this.#device = device;
  }

  /** Scan the QR code of an enrollment, and pair. */
  static async pair(
    server: TestServer,
    { barcodeUri }: Pick<DevicePairing, "barcodeUri">,
    name = "Test device",
  ): Promise<PushDevice> {
    const client = server.anyone; // a device signs, and has no credentials besides
    const scanned = new URL(barcodeUri).searchParams;
    const [pairingSecret, issuer] = [scanned.get("enrollment_tx_id") ?? "", scanned.get("base_url") ?? ""];
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const { kty, crv, x, y } = publicKey.export({ format: "jwk" });
    const statement = signed(privateKey, issuer, {
      type: "cofactor.pair",
      secret_sha256: b64(sha256(pairingSecret)),
      key: { kty, crv, x, y },
      name,
    });
    const { userId, deviceId } = await client.authenticators.pairDevice({ pairingSecret, statement });
    return new PushDevice(client, privateKey, issuer, userId, deviceId);
  }

  /** Listen, and return the first prompt that waits or comes. */
  async prompt(signal?: AbortSignal): Promise<Prompt> {
    const { nonce } = await this.#client.authenticators.createDeviceNonce({});
    const said = { type: "cofactor.watch", nonce, user: this.#user, device: this.#device };
    const statement = signed(this.#key, this.#issuer, said);
    const stop = new AbortController();
    const until = { signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]) };
    try {
      for await (const { event } of this.#client.challenges.watchDevice({ statement }, until)) {
        if (event.case === "prompt") {
          return event.value;
        }
      }
    } finally {
      stop.abort();
    }
    throw new Error("the server ended the stream");
  }

  /** Approve, with the number that the login page shows, at the device's time. */
  approve(prompt: Prompt, number: string, time: Date): Promise<ChallengeState> {
    return this.#answer(prompt, "approve", number, time);
  }

  /** Deny. */
  deny(prompt: Prompt, time: Date): Promise<ChallengeState> {
    return this.#answer(prompt, "deny", "", time);
  }

  async #answer(prompt: Prompt, decision: string, number: string, time: Date): Promise<ChallengeState> {
    const value = signed(this.#key, this.#issuer, {
      type: "cofactor.answer",
      challenge: prompt.challengeId,
      user: this.#user,
      device: this.#device,
      decision,
      number,
      shown_sha256: b64(sha256(prompt.shown)),
      time: Math.floor(time.getTime() / 1_000),
    });
    const { challengeId } = prompt;
    return (await this.#client.challenges.answerChallenge({ challengeId, proof: { case: "signed", value } })).state;
  }
}

/** Options of a ceremony, as far as they are read here. */
interface Options {
  readonly challenge: string;
  readonly rp?: { readonly id: string };
  readonly rpId?: string;
  readonly user?: { readonly id: string };
  readonly allowCredentials?: readonly { readonly id: string }[];
}

/** A security key, together with the browser before it: ES256, attestation `none`. */
export class SecurityKey {
  readonly #made: { id: Buffer; key: KeyObject; user: string; count: number }[] = [];

  /** `origin` is that of the page that asks. */
  constructor(readonly origin = "http://localhost:8080") {}

  /** Answer either ceremony, as `navigator.credentials` does, and return the credential in JSON. */
  answer(publicKeyJson: string): string {
    const options = JSON.parse(publicKeyJson) as Options;
    return JSON.stringify(options.rp === undefined ? this.#get(options) : this.#create(options, options.rp.id));
  }

  #create(options: Options, rpId: string): object {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const made = { id: randomBytes(32), key: privateKey, user: options.user!.id, count: 0 };
    this.#made.push(made);
    const { x, y } = publicKey.export({ format: "jwk" });
    const cose = cborMap([
      [cborInt(1), cborInt(2)],
      [cborInt(3), cborInt(-7)],
      [cborInt(-1), cborInt(1)],
      [cborInt(-2), cborBytes(Buffer.from(x!, "base64url"))],
      [cborInt(-3), cborBytes(Buffer.from(y!, "base64url"))],
    ]);
    const credential = Buffer.concat([Buffer.alloc(16), Buffer.from([0, made.id.length]), made.id, cose]);
    const authData = Buffer.concat([authenticatorData(rpId, 0x45, 0), credential]); // UP, UV, AT
    const attestation = cborMap([
      [cborText("fmt"), cborText("none")],
      [cborText("attStmt"), cborMap([])],
      [cborText("authData"), cborBytes(authData)],
    ]);
    const clientData = this.#clientData("webauthn.create", options.challenge);
    const response = { clientDataJSON: b64(clientData), attestationObject: b64(attestation), transports: ["usb"] };
    return credentialOf(made.id, response);
  }

  #get(options: Options): object {
    const allowed = new Set(options.allowCredentials?.map(({ id }) => id));
    const made = this.#made.find(({ id }) => allowed.has(b64(id)));
    if (made === undefined) {
      throw new Error("the key holds no credential that is allowed");
    }
    const data = authenticatorData(options.rpId ?? "", 0x05, ++made.count); // UP, UV
    const clientData = this.#clientData("webauthn.get", options.challenge);
    const signature = createSign("sha256").update(data).update(sha256(clientData)).sign(made.key);
    const response = {
      clientDataJSON: b64(clientData),
      authenticatorData: b64(data),
      signature: b64(signature),
      userHandle: made.user,
    };
    return credentialOf(made.id, response);
  }

  #clientData(type: string, challenge: string): Buffer {
    return Buffer.from(JSON.stringify({ type, challenge, origin: this.origin, crossOrigin: false }));
  }
}

function signed(key: KeyObject, issuer: string, said: object) {
  const payload = Buffer.from(JSON.stringify({ version: 1, issuer, ...said }));
  const signature = createSign("sha256").update(payload).sign(key); // in DER
  return { payload: new Uint8Array(payload), signature: new Uint8Array(signature) };
}

function credentialOf(id: Buffer, response: object): object {
  const names = { id: b64(id), rawId: b64(id), type: "public-key", authenticatorAttachment: "cross-platform" };
  return { ...names, clientExtensionResults: {}, response };
}

function authenticatorData(rpId: string, flags: number, count: number): Buffer {
  const rest = Buffer.alloc(5);
  rest.writeUInt8(flags);
  rest.writeUInt32BE(count, 1);
  return Buffer.concat([sha256(rpId), rest]);
}

function sha256(octets: string | Uint8Array): Buffer {
  return createHash("sha256").update(octets).digest();
}

function b64(octets: Buffer): string {
  return octets.toString("base64url");
}

function unbase32(text: string): Buffer {
  const bits = [...text.toUpperCase().replace(/=+$/, "")].map((letter) => {
    const value = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter);
    if (value < 0) {
      throw new Error("the secret is not base32");
    }
    return value.toString(2).padStart(5, "0");
  });
  return Buffer.from((bits.join("").match(/.{8}/g) ?? []).map((octet) => parseInt(octet, 2)));
}

// CBOR, RFC 8949 section 3: the few forms that an authenticator has

function head(major: number, number: number): Buffer {
  if (number < 24) {
    return Buffer.from([(major << 5) | number]);
  }
  return number < 0x100
    ? Buffer.from([(major << 5) | 24, number])
    : Buffer.from([(major << 5) | 25, number >> 8, number & 0xff]);
}

function cborInt(value: number): Buffer {
  return value < 0 ? head(1, -1 - value) : head(0, value);
}

function cborBytes(value: Buffer): Buffer {
  return Buffer.concat([head(2, value.length), value]);
}

function cborText(value: string): Buffer {
  return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
}

function cborMap(entries: [Buffer, Buffer][]): Buffer {
  return Buffer.concat([head(5, entries.length), ...entries.flat()]);
}
