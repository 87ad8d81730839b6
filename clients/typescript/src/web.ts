import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { Cofactor } from "./client.js";
import { careful } from "./transport.js";

export * from "./shared.js";

/** How a page connects. */
export interface WebConnecting {
  /** The id of a public client, one of whose origins the page's is. A page keeps no secret. */
  readonly clientId: string;
  /** Milliseconds until a call that answers once ends with DEADLINE_EXCEEDED, unless it says otherwise. Default: 10 s. */
  readonly timeoutMs?: number;
}

/**
 * Return a client of the server whose issuer is `url`, such as `https://mfa.example.com/`, for use in a browser.
 *
 * @throws {TypeError} the URL is neither https nor this machine's
 */
export function connectWeb(url: string, { clientId, timeoutMs = 10_000 }: WebConnecting): Cofactor {
  const { protocol, hostname, href } = new URL(url);
  const local = hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
  if (protocol !== "https:" && !(protocol === "http:" && local)) {
    throw new TypeError("a page connects by https");
  }
  const transport = createGrpcWebTransport({ baseUrl: href });
  return new Cofactor(careful(transport, { "cofactor-client-id": clientId }, timeoutMs));
}
