import { type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, createClient, type Client as Stub, type Transport } from "@connectrpc/connect";

import { CofactorError } from "./errors.js";
import { AuthenticatorService } from "./gen/cofactor/v1/authenticators_pb.js";
import { ChallengeService, ChallengeState } from "./gen/cofactor/v1/challenges_pb.js";
import {
  TokenService,
  type IssueTokenRequestSchema,
  type MfaRequired,
  type Tokens,
} from "./gen/cofactor/v1/tokens_pb.js";
import { backoffMs, pause } from "./waiting.js";

/** What became of a grant. */
export type Outcome =
  | { readonly case: "tokens"; readonly tokens: Tokens }
  | { readonly case: "mfaRequired"; readonly mfaRequired: MfaRequired }
  | { readonly case: "pending"; readonly intervalMs: number };

/** What a finished challenge is exchanged for. */
export type Redeemed = Exclude<Outcome, { case: "pending" }>;

/** How a call is made. */
export interface Calling {
  readonly signal?: AbortSignal;
  /** Milliseconds until it ends with DEADLINE_EXCEEDED. */
  readonly timeoutMs?: number;
}

/** How a challenge is awaited. */
export interface Awaiting extends Calling {
  /** The code the user typed, where one was sent; nothing is awaited then. */
  readonly bindingCode?: string;
  /** What `CreateChallenge` said, for polling until the server says another. Default: 5 s. */
  readonly intervalMs?: number;
}

const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 10_000;
/** A server that is away for so long is not waited for any more: no challenge lives longer. */
const GIVE_UP_MS = 10 * 60_000;
const POLL_MS = 5_000;
const LONGEST_POLL_MS = 60_000;

/** The options of a call that is made with a user's token: an mfa_token, or an access token for the MFA audience. */
export function bearer(token: string): { headers: Record<string, string> } {
  return { headers: { authorization: `Bearer ${token}` } };
}

/** The generated clients, and what takes more than one call. Made by `connect`. */
export class Cofactor {
  readonly tokens: Stub<typeof TokenService>;
  readonly challenges: Stub<typeof ChallengeService>;
  readonly authenticators: Stub<typeof AuthenticatorService>;
  /** For services of other protos. */
  readonly transport: Transport;
  readonly #close: () => void;

  constructor(transport: Transport, close: () => void = () => undefined) {
    this.transport = transport;
    this.tokens = createClient(TokenService, transport);
    this.challenges = createClient(ChallengeService, transport);
    this.authenticators = createClient(AuthenticatorService, transport);
    this.#close = close;
  }

  /** End the connection, and every call on it. */
  close(): void {
    this.#close();
  }

  /**
   * Exchange a grant.
   *
   * @throws {CofactorError} the grant is refused
   */
  async issue(request: MessageInitShape<typeof IssueTokenRequestSchema>, calling: Calling = {}): Promise<Outcome> {
    const { outcome } = await this.tokens.issueToken(request, calling);
    switch (outcome.case) {
      case "tokens":
        return { case: "tokens", tokens: outcome.value };
      case "mfaRequired":
        return { case: "mfaRequired", mfaRequired: outcome.value };
      case "answerPending":
        return { case: "pending", intervalMs: durationMs(outcome.value.pollInterval ?? SECONDS_5) };
      default:
        throw new CofactorError("the server answered with an outcome that this client does not know", Code.Internal);
    }
  }

  /**
   * Tell where a challenge stands: now and at every change, until it is approved or will change no more.
   *
   * Goes on when the connection is lost or the server starts again, after waits that grow (RFC 8628 section 3.5).
   *
   * @throws {CofactorError} the login can't go on, or its challenge can't be watched
   */
  async *watch(mfaToken: string, oobCode: string, calling: Calling = {}): AsyncGenerator<ChallengeState, void> {
    const until = calling.timeoutMs === undefined ? Infinity : performance.now() + calling.timeoutMs;
    let [last, failures, heard] = [ChallengeState.UNSPECIFIED, 0, performance.now()];
    for (;;) {
      let lost: CofactorError;
      const left = until - performance.now();
      const stop = new AbortController(); // whoever stops listening lets go of the stream, and of its deadline
      const signal = calling.signal === undefined ? stop.signal : AbortSignal.any([calling.signal, stop.signal]);
      const timeout = left === Infinity ? {} : { timeoutMs: Math.ceil(Math.max(left, 1)) };
      try {
        const options = { ...bearer(mfaToken), signal, ...timeout };
        for await (const { state } of this.challenges.watchChallenge({ oobCode }, options)) {
          [failures, heard] = [0, performance.now()];
          if (state !== last) {
            yield (last = state);
          }
          if (state !== ChallengeState.PENDING) {
            return;
          }
        }
        lost = new CofactorError("the server ended the stream", Code.Unavailable);
      } catch (thrown) {
        lost = CofactorError.from(thrown);
      } finally {
        stop.abort();
      }
      const now = performance.now();
      const again = lost.code === Code.Unavailable || (lost.code === Code.DeadlineExceeded && now < until);
      if (!again || calling.signal?.aborted || now - heard > GIVE_UP_MS) {
        throw lost;
      }
      const wait = backoffMs(++failures, FIRST_WAIT_MS, LONGEST_WAIT_MS);
      if (now + wait >= until) {
        throw new CofactorError("the deadline passed", Code.DeadlineExceeded);
      }
      await pause(wait, calling.signal);
    }
  }

  /**
   * Wait until the user has answered a challenge, and exchange it, once.
   *
   * Watches; where that can't be done, polls at the server's interval.
   *
   * @throws {CofactorError} the challenge was denied or is over (CHALLENGE_DENIED, OOB_CODE_EXPIRED), or the login can't
   * go on
   */
  async awaitTokens(mfaToken: string, oobCode: string, awaiting: Awaiting = {}): Promise<Redeemed> {
    const { bindingCode = "", intervalMs = POLL_MS, ...calling } = awaiting;
    const until = calling.timeoutMs === undefined ? Infinity : performance.now() + calling.timeoutMs;
    let wait = 0;
    if (bindingCode === "") {
      try {
        for await (const _ of this.watch(mfaToken, oobCode, calling)); // how it ends is told by what redeeming it answers
      } catch (thrown) {
        const error = CofactorError.from(thrown);
        // An access token for the MFA audience redeems what it enrolled, and watches nothing.
        if (!NO_WATCH.has(error.code) && error.reason !== "MFA_TOKEN_MALFORMED") {
          throw error;
        }
        wait = intervalMs;
      }
    }
    return this.#poll(mfaToken, oobCode, bindingCode, wait, intervalMs, until, calling.signal);
  }

  async #poll(
    mfaToken: string,
    oobCode: string,
    bindingCode: string,
    first: number,
    intervalMs: number,
    until: number,
    signal: AbortSignal | undefined,
  ): Promise<Redeemed> {
    let [wait, heard] = [first, performance.now()];
    for (;;) {
      if (performance.now() + wait >= until) {
        throw new CofactorError("the deadline passed", Code.DeadlineExceeded);
      }
      await pause(wait, signal);
      try {
        const grant = { case: "mfaOob", value: { mfaToken, oobCode, bindingCode } } as const;
        const outcome = await this.issue({ grant }, signal === undefined ? {} : { signal });
        if (outcome.case !== "pending") {
          return outcome;
        }
        [wait, heard] = [(intervalMs = outcome.intervalMs), performance.now()];
      } catch (thrown) {
        const error = CofactorError.from(thrown);
        if (signal?.aborted) {
          throw error;
        }
        if (error.reason === "SLOW_DOWN") {
          heard = performance.now();
          intervalMs = wait = Math.max(intervalMs + POLL_MS, error.retryDelayMs ?? 0);
        } else if (AWAY.has(error.code) && performance.now() - heard < GIVE_UP_MS) {
          wait = intervalMs = Math.min(LONGEST_POLL_MS, intervalMs * 2);
        } else {
          throw error;
        }
      }
    }
  }
}

const AWAY = new Set([Code.Unavailable, Code.DeadlineExceeded]);
// None is served here, or too many watch already.
const NO_WATCH = new Set([Code.Unimplemented, Code.ResourceExhausted]);
const SECONDS_5 = { $typeName: "google.protobuf.Duration", seconds: 5n, nanos: 0 } as const;
