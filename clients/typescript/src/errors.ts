import { durationMs, type Duration } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** The domain of reasons in `google.rpc.ErrorInfo`. */
const DOMAIN = "cofactor.v1";

/** A field of a request, and what is wrong with it. */
export interface Violation {
  readonly field: string;
  readonly description: string;
}

/** Why a call failed: what the server says, or that it could not be asked. */
export class CofactorError extends Error {
  override readonly name = "CofactorError";

  constructor(
    message: string,
    /** The gRPC code. */
    readonly code: Code,
    /** Why the server refused: a name of `ErrorReason`, such as `INVALID_OTP`, or a newer one; empty where no server said. */
    readonly reason: string = "",
    /** Beside the reason, such as `hint` or `parameter`. */
    readonly metadata: Readonly<Record<string, string>> = {},
    readonly violations: readonly Violation[] = [],
    /** After how many milliseconds it makes sense to try again; undefined where waiting does not help. */
    readonly retryDelayMs: number | undefined = undefined,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Take whatever a call threw. */
  static from(thrown: unknown): CofactorError {
    if (thrown instanceof CofactorError) {
      return thrown;
    }
    const error = ConnectError.from(thrown);
    const told = error.findDetails(ErrorInfoSchema).find((info) => info.domain === DOMAIN);
    const violations = error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations);
    const delay: Duration | undefined = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    return new CofactorError(
      error.rawMessage,
      told === undefined && wasLost(error) ? Code.Unavailable : error.code,
      told?.reason ?? "",
      { ...told?.metadata },
      violations.map(({ field, description }) => ({ field, description })),
      delay === undefined ? undefined : durationMs(delay),
      { cause: error },
    );
  }
}

/** Whether the connection broke, which gRPC calls UNAVAILABLE and HTTP/2 in Node, or fetch, calls many names. */
function wasLost(error: ConnectError): boolean {
  if (error.code === Code.Aborted || error.code === Code.Unavailable) {
    return true;
  }
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const code = "code" in cause ? cause.code : undefined;
    if (typeof code === "string" && LOST.has(code)) {
      return true;
    }
    if (NOT_FETCHED.test(cause.message) || CUT_SHORT.test(cause.message)) {
      return true;
    }
  }
  return false;
}

const LOST = new Set([
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EPIPE",
  "ERR_HTTP2_GOAWAY_SESSION",
  "ERR_HTTP2_SESSION_ERROR",
  "ERR_HTTP2_INVALID_SESSION",
  "ERR_HTTP2_STREAM_CANCEL",
]);
/** What fetch says in Chromium, Firefox and Safari; its errors have no code. */
const NOT_FETCHED = /failed to fetch|network ?error|load failed/i;
/** What is said of an answer that stopped in the middle. */
const CUT_SHORT = /missing (trailer|status)|incomplete envelope/;
