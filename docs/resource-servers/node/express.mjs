// express-oauth2-jwt-bearer, for an API of the profile auth0. Environment: ISSUER, AUDIENCE, PORT.
// [check]
import express from "express";
import {auth, claimCheck, requiredScopes} from "express-oauth2-jwt-bearer";

const {ISSUER, AUDIENCE, PORT} = process.env;
const LEVELS = ["urn:cofactor:acr:mfa", "urn:cofactor:acr:phr", "urn:cofactor:acr:phrh"];
const app = express();

app.get(
  "/orders",
  auth({issuerBaseURL: ISSUER, audience: AUDIENCE, tokenSigningAlg: "RS256"}),
  claimCheck(({azp, jti}) => Boolean(azp && jti), "not an access token"),
  requiredScopes("read:orders"),
  claimCheck(({acr}) => LEVELS.includes(acr), "insufficient_user_authentication"),
  (request, response) => response.json({sub: request.auth.payload.sub}),
);
// [/check]

app.listen(Number(PORT), "127.0.0.1", () => console.log("ready"));
