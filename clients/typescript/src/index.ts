export { connect, tlsFiles, type Connecting, type Tls } from "./node.js";
export * from "./shared.js";
