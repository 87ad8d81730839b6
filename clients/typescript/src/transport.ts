import { clone, create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, type StreamResponse, type Transport, type UnaryResponse } from "@connectrpc/connect";

import { CofactorError } from "./errors.js";
import { IssueTokenRequestSchema, type IssueTokenRequest } from "./gen/cofactor/v1/tokens_pb.js";
import { backoffMs, pause } from "./waiting.js";

/** How a call that answers once is repeated: only when the server is away (UNAVAILABLE), as a service config would say. */
export const RETRY = { maxAttempts: 4, initialBackoffMs: 100, maxBackoffMs: 1_000, multiplier: 2 } as const;

/** Grants that use something up: a `request_id` makes repeating them safe. */
const USES_UP = new Set(["mfaOtp", "mfaOob", "mfaRecoveryCode", "mfaWebauthn", "refreshToken"]);

/**
 * A transport that says who calls, ends calls in time, repeats what the server was not there for, and throws
 * `CofactorError`. It keeps the credentials to itself.
 */
export function careful(
  inner: Transport,
  credentials: Readonly<Record<string, string>>,
  defaultTimeoutMs: number,
): Transport {
  const named = (header: HeadersInit | undefined) => {
    const headers = new Headers(header);
    for (const [name, value] of Object.entries(credentials)) {
      headers.set(name, value);
    }
    return headers;
  };
  return {
    async unary(method, signal, timeoutMs = defaultTimeoutMs, header, input, contextValues) {
      const until = performance.now() + timeoutMs;
      const headers = named(header);
      const message = repeatable(method.input, input);
      for (let attempt = 1; ; attempt++) {
        const left = until - performance.now();
        try {
          if (left <= 0) {
            throw new CofactorError("the deadline passed", Code.DeadlineExceeded);
          }
          return (await inner.unary(method, signal, Math.ceil(left), headers, message, contextValues)) as UnaryResponse<
            typeof method.input,
            typeof method.output
          >;
        } catch (thrown) {
          const error = CofactorError.from(thrown);
          if (error.code !== Code.Unavailable || attempt === RETRY.maxAttempts || signal?.aborted) {
            throw error;
          }
          const wait = backoffMs(attempt, RETRY.initialBackoffMs, RETRY.maxBackoffMs);
          if (performance.now() + wait >= until) {
            throw error;
          }
          await pause(wait, signal);
        }
      }
    },
    async stream(method, signal, timeoutMs, header, input, contextValues) {
      try {
        const response = await inner.stream(method, signal, timeoutMs, named(header), input, contextValues);
        const messages = response.message[Symbol.asyncIterator]();
        // Whoever stops listening has aborted; the transport lets go of its deadline only when it is asked once more.
        signal?.addEventListener("abort", () => void messages.next().catch(() => undefined), { once: true });
        return { ...response, message: told(messages) } as StreamResponse<
          typeof method.input,
          typeof method.output
        >;
      } catch (thrown) {
        throw CofactorError.from(thrown);
      }
    },
  };
}

async function* told<T>(messages: AsyncIterator<T>): AsyncIterable<T> {
  try {
    for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
      yield next.value;
    }
  } catch (thrown) {
    throw CofactorError.from(thrown);
  }
}

/** The message, with a `request_id` of its own where a repetition would find something used up. */
function repeatable<I extends DescMessage>(schema: I, input: MessageInitShape<I>): MessageInitShape<I> {
  if (schema.typeName !== IssueTokenRequestSchema.typeName) {
    return input;
  }
  const given = create(IssueTokenRequestSchema, input as MessageInitShape<typeof IssueTokenRequestSchema>);
  if (given.requestId !== "" || !USES_UP.has(given.grant.case ?? "")) {
    return input;
  }
  const copy: IssueTokenRequest = clone(IssueTokenRequestSchema, given); // the caller's own may be sent again, as another
  copy.requestId = crypto.randomUUID();
  return copy as unknown as MessageInitShape<I>;
}
