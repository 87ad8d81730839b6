"""Authlib: checks an access token of the default profile. Environment: ISSUER, AUDIENCE; tokens come by line."""

import json
import os
import sys
from typing import Any
from urllib.request import urlopen

from authlib.oauth2.rfc9068 import JWTBearerTokenValidator

ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]


# [check]
class Validator(JWTBearerTokenValidator):
    """Authlib's validator of RFC 9068, with the published keys."""

    def get_jwks(self) -> Any:
        """Fetch the keys; a service keeps them for some minutes."""
        with urlopen(f"{ISSUER}.well-known/keys.json", timeout=10) as answer:
            return json.load(answer)


validator = Validator(issuer=ISSUER, resource_server=AUDIENCE)


def check(token: str) -> dict[str, Any]:
    """Return the claims of a token with two factors and the scope read:orders."""
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, ["read:orders"], request=None)
    if claims.get("acr") not in {"urn:cofactor:acr:mfa", "urn:cofactor:acr:phr", "urn:cofactor:acr:phrh"}:
        raise PermissionError("insufficient_user_authentication")
    return dict(claims)


# [/check]


for line in sys.stdin:
    try:
        print("ok", check(line.strip())["sub"], flush=True)
    except Exception as refusal:
        print("refused", type(refusal).__name__, refusal, flush=True)
