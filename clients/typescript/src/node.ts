import { readFileSync } from "node:fs";
import { connect as connectSocket, isIPv4 } from "node:net";

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { Cofactor } from "./client.js";
import { careful } from "./transport.js";

/** How the server is recognized, and how the client is. */
export interface Tls {
  /** PEM of the authorities that are trusted. Default: the system's. */
  readonly ca?: string | Uint8Array;
  /** PEM of the client's certificate, for mTLS. */
  readonly certificate?: string | Uint8Array;
  /** PEM of its key. */
  readonly key?: string | Uint8Array;
}

/** How to connect. */
export interface Connecting {
  /** The application's id. Absent: calls that anyone may make, and those that a user's token alone allows. */
  readonly clientId?: string | undefined;
  /** Absent for a public client, and for one that its certificate stands for. */
  readonly clientSecret?: string | undefined;
  /** Default: TLS with the system's authorities. False: plaintext, to this machine only. */
  readonly tls?: Tls | false;
  /** Whether plaintext may leave this machine: everyone on the way reads passwords and tokens. Default: false. */
  readonly allowPlaintext?: boolean;
  /** Milliseconds until a call that answers once ends with DEADLINE_EXCEEDED, unless it says otherwise. Default: 10 s. */
  readonly timeoutMs?: number;
}

/** Read certificates and keys from files. */
export function tlsFiles(files: { ca?: string; certificate?: string; key?: string }): Tls {
  const found = Object.entries(files).filter(([, path]) => path !== undefined);
  return Object.fromEntries(found.map(([name, path]) => [name, readFileSync(path)]));
}

/**
 * Return a client of the server at `target`, such as `mfa.example.com:443`, `127.0.0.1:50051` or `unix:/run/cofactor.sock`.
 * It connects with the first call, and again when the connection is lost.
 *
 * @throws {TypeError} the target is none, or plaintext would leave this machine
 */
export function connect(target: string, connecting: Connecting = {}): Cofactor {
  const { clientId, clientSecret, tls = {}, allowPlaintext = false, timeoutMs = 10_000 } = connecting;
  const socket = target.startsWith("unix:") ? target.replace(/^unix:(\/\/(?=\/))?/, "") : undefined;
  const scheme = tls === false ? "http" : "https";
  const url = parsed(`${scheme}://${socket === undefined ? target : "localhost"}`, target);
  if (tls === false && !allowPlaintext && socket === undefined && !isLoopback(url.hostname)) {
    throw new TypeError(`${target} is another machine: use TLS, or say allowPlaintext`);
  }
  const options = {
    ...(socket === undefined ? {} : { createConnection: () => connectSocket(socket) }),
    ...(tls === false ? {} : certificates(tls)),
  };
  const sessionManager = new Http2SessionManager(url, { pingIntervalMs: 60_000 }, options);
  const transport = createGrpcTransport({ baseUrl: url.origin, sessionManager, acceptCompression: [] });
  const credentials = {
    ...(clientId === undefined ? {} : { "cofactor-client-id": clientId }),
    ...(clientSecret === undefined ? {} : { "cofactor-client-secret": clientSecret }),
  };
  return new Cofactor(careful(transport, credentials, timeoutMs), () => sessionManager.abort());
}

function parsed(url: string, target: string): URL {
  let found: URL | undefined;
  try {
    found = new URL(url);
  } catch {
    // said below
  }
  // Whatever else a URL may hold, a target does not; `/` and spaces are dropped by URL without a word.
  if (found === undefined || (!target.startsWith("unix:") && /[/\\?#@\s]/.test(target))) {
    throw new TypeError("a target is host:port, or unix: and a path");
  }
  return found;
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || (isIPv4(hostname) && hostname.startsWith("127."));
}

function certificates({ ca, certificate, key }: Tls): Record<string, Buffer> {
  const given = { ca, cert: certificate, key };
  const found = Object.entries(given).filter(([, pem]) => pem !== undefined);
  return Object.fromEntries(found.map(([name, pem]) => [name, Buffer.from(pem as Uint8Array)]));
}
