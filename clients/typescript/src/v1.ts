// The messages and services of protos/cofactor/v1, as they are generated.
export * from "./gen/cofactor/v1/authenticators_pb.js";
export * from "./gen/cofactor/v1/challenges_pb.js";
export * from "./gen/cofactor/v1/errors_pb.js";
export * from "./gen/cofactor/v1/tokens_pb.js";
