// jose: checks an access token of the default profile. Environment: ISSUER, AUDIENCE; tokens come by line.
import {createInterface} from "node:readline";

// [check]
import {createRemoteJWKSet, jwtVerify} from "jose";

const {ISSUER, AUDIENCE} = process.env;
const keys = createRemoteJWKSet(new URL(`${ISSUER}.well-known/keys.json`));
const LEVELS = ["urn:cofactor:acr:mfa", "urn:cofactor:acr:phr", "urn:cofactor:acr:phrh"];

async function check(token) {
  const {payload} = await jwtVerify(token, keys, {
    issuer: ISSUER,
    audience: AUDIENCE,
    typ: "at+jwt",
    algorithms: ["RS256", "ES256"],
    requiredClaims: ["client_id", "jti", "sub"],
  });
  if (!String(payload.scope ?? "").split(" ").includes("read:orders")) throw new Error("insufficient_scope");
  if (!LEVELS.includes(payload.acr)) throw new Error("insufficient_user_authentication");
  return payload;
}
// [/check]

for await (const line of createInterface({input: process.stdin})) {
  try {
    console.log("ok", (await check(line.trim())).sub);
  } catch (refusal) {
    console.log("refused", refusal.code ?? "", refusal.message);
  }
}
