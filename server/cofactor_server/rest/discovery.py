"""Discovery and keys over HTTP (OpenID Connect Discovery, RFC 8414, RFC 7517; W3)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import grpc.aio
from cofactor.v1 import tokens_pb2 as pb
from cofactor.v1 import tokens_pb2_grpc
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server.rest import openapi
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.tokens import GRANTS, TIMEOUT

_AUTH_METHODS = ["none", "client_secret_post", "client_secret_basic", "private_key_jwt"]
_ASSERTION_ALGORITHMS = ["RS256", "RS384", "PS256", "ES256"]
_SCOPES = ["openid", "profile", "email", "offline_access", "enroll", "read:authenticators", "remove:authenticators"]

_CLAIMS = [
    *("iss", "sub", "aud", "exp", "iat", "auth_time", "acr", "amr", "at_hash"),
    *("name", "preferred_username", "email", "email_verified"),
]
_ACR_VALUES = [f"urn:cofactor:acr:{level}" for level in ("1fa", "mfa-low", "mfa", "phr", "phrh")]
_PUBLIC = {"cache-control": "public, max-age=300"}
"""Of what changes with the keys; they are published much longer than this before they sign (S158)."""
_SERVER_METADATA = "/.well-known/oauth-authorization-server"


class Discovery:
    """The routes.

    Parameters:
        issuer: with its trailing slash; endpoints are named below it.
    """

    def __init__(self, channel: grpc.aio.Channel, *, issuer: str) -> None:
        self._stub = tokens_pb2_grpc.TokenServiceStub(channel)
        self._issuer = issuer
        self._provider = _describe_provider(issuer)
        self._server = _describe_server(self._provider)

    def register(self, app: HttpApplication) -> None:
        """Add the routes to `app`."""
        app.add("GET", "/.well-known/openid-configuration", self.describe_provider, openapi.DISCOVERY)
        app.add("GET", _SERVER_METADATA, self.describe_server, openapi.SERVER_METADATA)
        # An issuer's path follows the well-known part (RFC 8414 section 3).
        if path := urlsplit(self._issuer).path.rstrip("/"):
            app.add("GET", _SERVER_METADATA + path, self.describe_server)
        app.add("GET", "/.well-known/jwks.json", self.rsa_keys, openapi.RSA_KEYS)
        app.add("GET", "/.well-known/keys.json", self.keys, openapi.KEYS)

    async def describe_provider(self, _request: Request) -> Response:
        """Describe the issuer to OpenID Connect libraries."""
        return JSONResponse(self._provider, headers=_PUBLIC)

    async def describe_server(self, _request: Request) -> Response:
        """Describe the issuer to OAuth libraries (RFC 8414)."""
        return JSONResponse(self._server, headers=_PUBLIC)

    async def rsa_keys(self, _request: Request) -> Response:
        """Hand out the RSA keys, which verify id_tokens and RS256 access tokens.

        Libraries of this wire take every key of the set for one of RSA, and fail on others (auth0-python 6.8).
        """
        return JSONResponse({"keys": [key for key in await self._keys() if key["kty"] == "RSA"]}, headers=_PUBLIC)

    async def keys(self, _request: Request) -> Response:
        """Hand out every public key: what a resource server needs that takes ES256 access tokens."""
        return JSONResponse({"keys": await self._keys()}, headers=_PUBLIC)

    async def _keys(self) -> list[dict[str, Any]]:
        response = await self._stub.GetJsonWebKeySet(pb.GetJsonWebKeySetRequest(), timeout=TIMEOUT)
        return [{field.name: value for field, value in key.ListFields()} for key in response.keys]


def _describe_server(provider: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of OpenID Connect discovery that RFC 8414 section 2 defines.

    `authorization_endpoint` is not among them: no grant type uses it.
    """
    return {name: value for name, value in provider.items() if _is_server_metadata(name)}


def _is_server_metadata(name: str) -> bool:
    endpoints = ("token_endpoint", "revocation_endpoint", "introspection_endpoint")
    lists = ("grant_types_supported", "response_types_supported", "scopes_supported")
    return name in ("issuer", "jwks_uri", *lists) or name.startswith(endpoints)


def _describe_provider(issuer: str) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}authorize",  # SDKs want the key; nothing is served there
        "token_endpoint": f"{issuer}oauth/token",
        "revocation_endpoint": f"{issuer}oauth/revoke",
        "introspection_endpoint": f"{issuer}oauth/introspect",
        "userinfo_endpoint": f"{issuer}userinfo",
        "jwks_uri": f"{issuer}.well-known/jwks.json",
        "grant_types_supported": list(GRANTS),
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "scopes_supported": _SCOPES,
        "claims_supported": _CLAIMS,
        "claim_types_supported": ["normal"],
        "acr_values_supported": _ACR_VALUES,
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": _AUTH_METHODS,
        "revocation_endpoint_auth_methods_supported": _AUTH_METHODS,
        "introspection_endpoint_auth_methods_supported": [method for method in _AUTH_METHODS if method != "none"],
        **{
            f"{endpoint}_endpoint_auth_signing_alg_values_supported": _ASSERTION_ALGORITHMS
            for endpoint in ("token", "revocation", "introspection")
        },
    }
