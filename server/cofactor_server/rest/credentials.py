"""Who calls: client credentials and bearer tokens, as HTTP has them and as gRPC metadata has them."""

import base64
import binascii
import re
from urllib.parse import unquote_plus

from starlette.requests import Request

from cofactor_server import errors
from cofactor_server.rest.bodies import Body, malformed

Metadata = tuple[tuple[str, str], ...]

# A peer refuses about 8 KiB of metadata in all; what is longer than these can't be right anyway.
MAX_CLIENT_FIELD = 1024
MAX_ASSERTION = 3072
MAX_TOKEN = 4096
MAX_FORWARDED = 256

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

_sendable = re.compile(r"[!-~](?:[ -~]*[!-~])?").fullmatch  # a transport may strip spaces at the ends


def of_client(request: Request, body: Body) -> Metadata:
    """Return the client's credentials, which the request must hold.

    Raises:
        MissingParameter: there is no client_id.
        InvalidRequest: credentials in both header and body (S150).
        InvalidClient: what is there can't be the credentials of any client.
    """
    scheme, basic = authorization(request)
    client_id, secret = body.text("client_id"), body.text("client_secret")
    assertion = body.text("client_assertion")
    if scheme == "basic":
        if secret or assertion:
            raise malformed("client_secret", "must not be given beside the Authorization header")
        header_id, secret = _basic(basic)
        if client_id and client_id != header_id:
            raise malformed("client_id", "differs from the Authorization header")
        client_id = header_id
    if secret and assertion:
        raise malformed("client_assertion", "must not be given beside client_secret")
    _check_assertion(body)
    if not client_id and not assertion:  # which names its client, RFC 7521 section 4.2
        raise errors.MissingParameter(parameter="client_id")
    request.state.client_id = client_id  # whose answer it is, for CORS
    return (*_client(client_id, secret, assertion), *_forwarded(request))


def of_nobody(request: Request) -> Metadata:
    """Return what is passed on of a request whose body holds all the authority there is."""
    return _forwarded(request)


def of_bearer(request: Request, body: Body | None = None, *, bare: bool = False) -> Metadata:
    """Return the user's token, and beside it the client's credentials if the body has some.

    Parameters:
        bare: whether the header may hold the token without `Bearer`.

    Raises:
        BearerMissing, BearerInvalid, MissingParameter, InvalidClient
    """
    scheme, token = authorization(request)
    if bare and scheme and not token and scheme != "bearer":
        token = request.headers["authorization"].strip()
    elif scheme != "bearer":
        token = ""
    if not token:
        raise errors.BearerMissing
    if not _sendable(token) or len(token) > MAX_TOKEN:
        raise errors.BearerInvalid
    client: Metadata = ()
    if body is not None and any(map(body.has, ("client_id", "client_secret", "client_assertion"))):
        assertion, secret = body.text("client_assertion"), body.text("client_secret")
        if secret and assertion:
            raise malformed("client_assertion", "must not be given beside client_secret")
        _check_assertion(body)
        client = _client(body.text("client_id") if assertion else body.required("client_id"), secret, assertion)
    return (("authorization", f"Bearer {token}"), *client, *_forwarded(request))


def of_mfa_token(mfa_token: str) -> Metadata:
    """Return an mfa_token of a body as the call's authority; raise MfaTokenMalformed for what can't be one."""
    if not _sendable(mfa_token) or len(mfa_token) > MAX_TOKEN:
        raise errors.MfaTokenMalformed
    return (("authorization", f"Bearer {mfa_token}"),)


def authorization(request: Request) -> tuple[str, str]:
    """Return the scheme in lower case and what follows it, both empty without the header.

    Raises:
        InvalidRequest: there are two.
    """
    values = request.headers.getlist("authorization")
    if len(values) > 1:
        raise malformed("Authorization", "must be given once")
    scheme, _, rest = (values[0] if values else "").strip().partition(" ")
    return scheme.lower(), rest.strip()


def _basic(encoded: str) -> tuple[str, str]:
    """Decode RFC 6749 section 2.3.1: both halves are form-urlencoded before the base64."""
    try:
        name, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        name, secret = unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")
    except (ValueError, binascii.Error):
        raise errors.InvalidClient from None
    if not colon or not name:
        raise errors.InvalidClient
    return name, secret


def _check_assertion(body: Body) -> None:
    """Refuse an assertion of another type than RFC 7523's, and a type without one.

    To drop either would make a confidential client look like a public one.
    """
    kind = body.text("client_assertion_type")
    if kind and not body.has("client_assertion"):
        raise errors.MissingParameter(parameter="client_assertion")
    if body.has("client_assertion") and kind != JWT_BEARER:
        raise errors.InvalidClient


def _client(client_id: str, secret: str, assertion: str) -> Metadata:
    shown = (
        ("cofactor-client-id", client_id, MAX_CLIENT_FIELD),
        ("cofactor-client-secret", secret, MAX_CLIENT_FIELD),
        ("cofactor-client-assertion", assertion, MAX_ASSERTION),
    )
    if any(value and (not _sendable(value) or len(value) > limit) for _, value, limit in shown):
        raise errors.InvalidClient
    return tuple((key, value) for key, value, _ in shown if value)


def _forwarded(request: Request) -> Metadata:
    """Pass on the languages that are wanted, and the end user's address that a client states.

    Whether it may state one is the server's decision.
    """
    stated = (("auth0-forwarded-for", "cofactor-forwarded-for"), ("accept-language", "accept-language"))
    found = ((key, request.headers.get(header, "").strip()) for header, key in stated)
    return tuple((key, value) for key, value in found if value and _sendable(value) and len(value) <= MAX_FORWARDED)
