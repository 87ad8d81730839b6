export { Code } from "@connectrpc/connect";

export { bearer, Cofactor, type Awaiting, type Calling, type Outcome, type Redeemed } from "./client.js";
export { CofactorError, type Violation } from "./errors.js";
export * from "./v1.js";
