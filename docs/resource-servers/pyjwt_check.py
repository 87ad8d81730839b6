"""PyJWT: checks an access token of the default profile. Environment: ISSUER, AUDIENCE; tokens come by line."""

import os
import sys
from typing import Any

import jwt

ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]

# [check]
keys = jwt.PyJWKClient(f"{ISSUER}.well-known/keys.json")


def check(token: str) -> dict[str, Any]:
    """Return the claims of a token with two factors and the scope read:orders; raise PermissionError otherwise."""
    if jwt.get_unverified_header(token).get("typ", "").lower().removeprefix("application/") != "at+jwt":
        raise PermissionError("not an access token")
    claims = jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=["RS256", "ES256"],
        issuer=ISSUER,
        audience=AUDIENCE,
        options={"require": ["exp", "iat", "sub", "client_id", "jti"]},
    )
    if "read:orders" not in claims.get("scope", "").split():
        raise PermissionError("insufficient_scope")
    if claims.get("acr") not in {"urn:cofactor:acr:mfa", "urn:cofactor:acr:phr", "urn:cofactor:acr:phrh"}:
        raise PermissionError("insufficient_user_authentication")
    return claims


# [/check]


for line in sys.stdin:
    try:
        print("ok", check(line.strip())["sub"], flush=True)
    except (jwt.PyJWTError, PermissionError) as refusal:
        print("refused", type(refusal).__name__, refusal, flush=True)
