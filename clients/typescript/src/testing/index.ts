export { AuthenticatorApp, Phone, PushDevice, SecurityKey, type Prompt } from "./devices.js";
export { TestServer, type Demo } from "./server.js";
