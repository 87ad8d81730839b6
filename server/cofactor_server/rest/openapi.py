"""The OpenAPI document: its schemas, and an Operation Object for each route."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

_Schema = dict[str, Any]
Document = dict[str, Any]
"""An OpenAPI 3.1 document."""

_AUTH0 = "http://auth0.com/oauth/grant-type/"
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"

_TEXT: _Schema = {"type": "string", "minLength": 1}
_OPTIONAL: _Schema = {"type": ["string", "null"]}  # null and "" are absent
_SECRET: _Schema = {"type": "string", "minLength": 1, "format": "password"}
_CLIENT: dict[str, _Schema] = {
    "client_id": {**_OPTIONAL, "description": "Required, unless the client authenticates by HTTP Basic."},
    "client_secret": {**_OPTIONAL, "format": "password", "description": "Not beside HTTP Basic."},
    "client_assertion": {**_OPTIONAL, "description": "A JWT of the client (RFC 7523), instead of a secret."},
    "client_assertion_type": {
        **_OPTIONAL,
        "description": "With client_assertion: urn:ietf:params:oauth:client-assertion-type:jwt-bearer.",
    },
}
_TARGET: dict[str, _Schema] = {
    "scope": {**_OPTIONAL, "description": "Space-separated."},
    "audience": {**_OPTIONAL, "description": "The resource server."},
    "acr_values": {**_OPTIONAL, "description": "How strong the authentication has to be; space-separated."},
    "max_age": {
        "type": ["integer", "string", "null"],
        "description": "How many seconds ago it may lie; 0 asks for a factor now.",
        "examples": [3600],
    },
}
_URI: _Schema = {"type": "string", "format": "uri"}
_WORDS: _Schema = {"type": "array", "items": {"type": "string"}}
_BODY_WORDS: _Schema = {"anyOf": [_WORDS, {"type": "string", "description": "Separated by commas or spaces."}]}
_CLIENT_METHODS = tuple(
    f"{endpoint}_endpoint_auth_{what}"
    for what in ("methods", "signing_alg_values")
    for endpoint in ("token", "revocation", "introspection")
)
"""How clients authenticate, in discovery; each name goes on with `_supported`."""
_PUBLIC_KEY: _Schema = {"type": "object", "description": "For the browser's WebAuthn call, in its JSON form."}


def _object(
    required: Mapping[str, _Schema], optional: Mapping[str, _Schema] | None = None, description: str = ""
) -> _Schema:
    schema: _Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    if description:
        schema["description"] = description
    return schema


def _ref(name: str) -> _Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _one_of(*values: str) -> _Schema:
    return {"type": "string", "enum": list(values)}


def _grant(grant_type: str, required: Sequence[str], optional: Mapping[str, _Schema] | None = None) -> _Schema:
    members = dict.fromkeys(required, _SECRET)
    return _object({"grant_type": {"const": grant_type}, **members}, {**(optional or {}), **_CLIENT})


_GRANTS: dict[str, tuple[str, _Schema]] = {
    "PasswordGrant": (
        "password",
        _grant("password", ("username", "password"), {"realm": _OPTIONAL, **_TARGET}),
    ),
    "PasswordRealmGrant": (
        f"{_AUTH0}password-realm",
        _grant(f"{_AUTH0}password-realm", ("username", "password", "realm"), _TARGET),
    ),
    "RefreshTokenGrant": ("refresh_token", _grant("refresh_token", ("refresh_token",), _TARGET)),
    "MfaOtpGrant": (f"{_AUTH0}mfa-otp", _grant(f"{_AUTH0}mfa-otp", ("mfa_token", "otp"))),
    "MfaOobGrant": (
        f"{_AUTH0}mfa-oob",
        _grant(
            f"{_AUTH0}mfa-oob",
            ("mfa_token", "oob_code"),
            {"binding_code": {**_OPTIONAL, "description": "Required where binding_method is prompt."}},
        ),
    ),
    "MfaRecoveryCodeGrant": (
        f"{_AUTH0}mfa-recovery-code",
        _grant(f"{_AUTH0}mfa-recovery-code", ("mfa_token", "recovery_code")),
    ),
    "MfaWebAuthnGrant": (
        f"{_AUTH0}mfa-webauthn",
        _object(
            {
                "grant_type": {"const": f"{_AUTH0}mfa-webauthn"},
                "mfa_token": _SECRET,
                "oob_code": _SECRET,
                "credential": {
                    "type": ["object", "string"],
                    "description": "The browser's PublicKeyCredential in JSON; in a form as text.",
                },
            },
            _CLIENT,
        ),
    ),
}

_REQUIREMENTS: _Schema = {
    "type": "array",
    "items": _object({"type": {"type": "string", "examples": ["otp", "phone", "email", "push-notification"]}}),
}
_ENROLLMENT: _Schema = {
    "enrollment_way": {
        **_one_of("ticket", "vouched_login", "new_login"),
        "description": "How the first authenticator is enrolled, where this login does not enroll it.",
    },
    "contact": {**_TEXT, "description": "Whom to ask, with `enrollment_way`, where the operator has said so."},
}
_CHANNEL = _one_of("sms", "voice", "email", "auth0")
_TICKET_FACTOR = _one_of("otp", "sms", "voice", "email", "push", "webauthn")

SCHEMAS: dict[str, _Schema] = {
    "Error": _object(
        {"error": _TEXT, "error_description": {"type": "string", "description": "Printable ASCII."}},
        {
            "hint": {"type": "string", "description": "What may help: check_clock, resynchronize, check_origin."},
            **_ENROLLMENT,
        },
    ),
    "MfaRequired": _object(
        {"error": {"const": "mfa_required"}, "error_description": _TEXT, "mfa_token": _SECRET},
        {
            "mfa_requirements": {
                "oneOf": [_object({"challenge": _REQUIREMENTS}), _object({"enroll": _REQUIREMENTS})],
                "description": "What the user can be challenged with, or can enroll.",
            },
            **_ENROLLMENT,
            "recovery_code": {**_TEXT, "description": "The replacement, where one was used and more is needed."},
        },
    ),
    "TokenRequest": {
        "oneOf": [_ref(name) for name in _GRANTS],
        "discriminator": {
            "propertyName": "grant_type",
            "mapping": {grant_type: f"#/components/schemas/{name}" for name, (grant_type, _) in _GRANTS.items()},
        },
    },
    **{name: schema for name, (_, schema) in _GRANTS.items()},
    "Tokens": _object(
        {"access_token": _TEXT, "token_type": {"const": "Bearer"}, "expires_in": {"type": "integer", "minimum": 0}},
        {
            "scope": _TEXT,
            "id_token": _TEXT,
            "refresh_token": _TEXT,
            "recovery_code": {**_TEXT, "description": "The replacement, after a recovery code was used."},
        },
    ),
    "TokenParameter": _object({"token": _SECRET}, {"token_type_hint": _OPTIONAL, **_CLIENT}),
    "Introspection": _object(
        {"active": {"type": "boolean"}},
        {
            **dict.fromkeys(("iss", "sub", "client_id", "scope", "jti", "token_type", "acr"), _TEXT),
            **{name: {"type": "integer"} for name in ("iat", "exp", "auth_time")},
            "aud": _WORDS,
            "amr": _WORDS,
        },
    ),
    "UserInfo": _object(
        {"sub": _TEXT},
        {
            **dict.fromkeys(("name", "preferred_username", "email"), _TEXT),
            "email_verified": {"type": "boolean"},
        },
    ),
    "Discovery": _object(
        {
            "issuer": _URI,
            **{f"{name}_endpoint": _URI for name in ("authorization", "token", "revocation", "introspection")},
            "userinfo_endpoint": _URI,
            "jwks_uri": _URI,
            **{
                f"{name}_supported": _WORDS
                for name in (
                    "grant_types",
                    "response_types",
                    "subject_types",
                    "scopes",
                    "claims",
                    "acr_values",
                    "claim_types",
                    "id_token_signing_alg_values",
                    *_CLIENT_METHODS,
                )
            },
        }
    ),
    "ServerMetadata": _object(
        {
            "issuer": _URI,
            **{f"{name}_endpoint": _URI for name in ("token", "revocation", "introspection")},
            "jwks_uri": _URI,
            **{f"{name}_supported": _WORDS for name in ("grant_types", "response_types", "scopes", *_CLIENT_METHODS)},
        }
    ),
    "JsonWebKeySet": _object(
        {
            "keys": {
                "type": "array",
                "items": _object(
                    {"kty": _one_of("RSA", "EC"), "kid": _TEXT, "use": {"const": "sig"}, "alg": _TEXT},
                    dict.fromkeys(("n", "e", "crv", "x", "y"), _TEXT),
                ),
            }
        }
    ),
    "ChallengeRequest": _object(
        {"mfa_token": _SECRET},
        {
            "challenge_type": {
                **_BODY_WORDS,
                "description": "Some of otp, oob, webauthn: what the client can handle. Absent: otp and oob.",
            },
            "authenticator_id": {**_OPTIONAL, "description": "Absent: the server picks one."},
            "oob_channel": {"anyOf": [_CHANNEL, {"type": "null"}]},
            **_CLIENT,
        },
    ),
    "Challenge": _object(
        {"challenge_type": _one_of("otp", "oob", "webauthn")},
        {
            "oob_code": _TEXT,
            "binding_method": {"const": "prompt", "description": "The user types the code that was sent."},
            "number": {**_TEXT, "description": "What the user types on the device that shows the prompt."},
            "authn_params_public_key": _PUBLIC_KEY,
        },
    ),
    "AssociateRequest": _object(
        {"authenticator_types": {**_BODY_WORDS, "description": "One of otp, oob, webauthn; the first counts."}},
        {
            "oob_channels": {**_BODY_WORDS, "description": "For oob: one of sms, voice, email, auth0."},
            "phone_number": {**_OPTIONAL, "description": "For sms and voice: E.164."},
            "email": {**_OPTIONAL, "description": "For email; absent: the profile's."},
            "resident_key": {"type": ["boolean", "null"], "description": "For webauthn: whether to make a passkey."},
            "name": _OPTIONAL,
            **_CLIENT,
        },
        "`authentication_types` and `oob_channel` are taken for the names here.",
    ),
    "Enrollment": _object(
        {"authenticator_type": _one_of("otp", "oob", "webauthn")},
        {
            "binding_method": {"const": "prompt"},
            "secret": {**_TEXT, "description": "Base32."},
            "barcode_uri": {**_TEXT, "description": "For a QR code."},
            "recovery_codes": _WORDS,
            "oob_channel": _CHANNEL,
            "oob_code": _TEXT,
            "authn_params_public_key": _PUBLIC_KEY,
        },
    ),
    "TicketParameter": _object({"ticket": _SECRET}),
    "TicketOffer": _object(
        {
            "issuer_name": {"type": "string"},
            "user": {**_TEXT, "description": "The account, masked."},
            "factors": {"type": "array", "items": _TICKET_FACTOR},
            "expires_at": {"type": "string", "format": "date-time"},
        }
    ),
    "BeginEnrollmentRequest": _object(
        {"ticket": _SECRET, "factor": _TICKET_FACTOR},
        {
            "phone_number": {**_OPTIONAL, "description": "For sms and voice: E.164."},
            "email": {**_OPTIONAL, "description": "For email; absent: the profile's verified address."},
            "name": _OPTIONAL,
        },
    ),
    "BegunEnrollment": _object(
        {"enrollment": {**_SECRET, "description": "Names the enrollment when it is confirmed."}},
        {
            "secret": {**_TEXT, "description": "Base32, for an authenticator app."},
            "barcode_uri": {**_TEXT, "description": "For a QR code."},
            "barcode_svg": {**_TEXT, "description": "The QR code, drawn."},
            "masked_address": {**_TEXT, "description": "Where a code went."},
            "risk_notice": {**_TEXT, "description": "What to tell the user about codes sent to a telephone."},
            "webauthn_options": _PUBLIC_KEY,
            "poll_interval": {
                "type": "integer",
                "description": "Seconds between two questions whether it is confirmed.",
            },
        },
    ),
    "ConfirmEnrollmentRequest": _object(
        {"ticket": _SECRET, "enrollment": _SECRET},
        {
            "code": {**_OPTIONAL, "description": "What the app shows, or what was sent."},
            "credential": {
                "type": ["object", "string", "null"],
                "description": "The browser's PublicKeyCredential in JSON; in a form as text.",
            },
        },
        "Neither code nor credential where a device answers.",
    ),
    "ConfirmedEnrollment": _object(
        {"confirmed": {"const": True}},
        {"recovery_codes": {**_WORDS, "description": "Where the user had none; shown here and never again."}},
    ),
    "WaitingEnrollment": _object({"confirmed": {"const": False}, "poll_interval": {"type": "integer"}}),
    "Authenticator": _object(
        {"id": _TEXT, "authenticator_type": _TEXT, "active": {"type": "boolean"}, "type": _TEXT},
        {"oob_channel": _CHANNEL, "name": _TEXT},
    ),
    "DeviceError": _object(
        {"statusCode": {"type": "integer"}, "error": _TEXT, "message": _TEXT, "errorCode": _TEXT},
        description="In the shape that Guardian apps know.",
    ),
    "DeviceEnrollmentRequest": _object(
        {
            "identifier": _TEXT,
            "name": _TEXT,
            "push_credentials": _ref("PushCredentials"),
            "public_key": _ref("DeviceKey"),
        }
    ),
    "PushCredentials": _object(
        {"service": {**_one_of("GCM", "FCM", "APNS"), "description": "GCM and FCM are one."}, "token": _TEXT}
    ),
    "DeviceKey": _object(
        {
            "kty": {"const": "RSA"},
            "n": {**_TEXT, "description": "2,048 to 4,096 bits, base64url; a leading zero octet does not matter."},
            "e": {**_TEXT, "description": "AQAB."},
        },
        {"alg": {"const": "RS256"}, "use": {"const": "sig"}},
    ),
    "EnrolledDevice": _object(
        {"id": _TEXT, "url": _URI, "issuer": _TEXT, "user_id": _TEXT, "token": _SECRET},
        {
            "totp": _object(
                {
                    "secret": {**_TEXT, "description": "Base32."},
                    "algorithm": _one_of("sha1", "sha256", "sha512"),
                    "digits": {"type": "integer"},
                    "period": {"type": "integer", "description": "Seconds."},
                }
            )
        },
    ),
    "ResolveRequest": _object({"challenge_response": {**_TEXT, "description": "A JWT that the device signed."}}),
    "DeviceAccountRequest": _object(
        {}, {"identifier": _TEXT, "name": _TEXT, "push_credentials": _ref("PushCredentials")}
    ),
    "DeviceAccount": _object(
        {"id": _TEXT, "identifier": _TEXT, "name": _TEXT}, {"push_credentials": _ref("PushCredentials")}
    ),
    "RichConsent": _object(
        {
            "id": _TEXT,
            "requested_details": _object(
                {},
                {
                    "audience": _TEXT,
                    "scope": _WORDS,
                    "binding_message": _TEXT,
                    "authorization_details": {"type": "array", "items": {"type": "object"}},
                },
            ),
            "created_at": {"type": "string", "format": "date-time"},
            "expires_at": {"type": "string", "format": "date-time"},
        }
    ),
    "RenameRequest": _object(
        {"name": {"type": ["string", "null"], "maxLength": 64, "description": "Empty or null takes the name away."}},
        _CLIENT,
    ),
}

_SECURITY_SCHEMES: dict[str, _Schema] = {
    "client": {"type": "http", "scheme": "basic", "description": "client_id and client_secret, each form-urlencoded."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "An mfa_token, or an access token for <issuer>mfa/."},
    "ticket": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": 'Ticket id="…", with enrollment_tx_id of the QR code.',
    },
    "device": {"type": "http", "scheme": "bearer", "description": "The device's token, or a JWT that it signed."},
    "transaction": {"type": "http", "scheme": "bearer", "description": "txtkn of the push."},
    "proof": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "MFA-DPoP and txtkn of the push; a DPoP proof in the header MFA-DPoP.",
    },
}
_BY_CLIENT: list[dict[str, list[str]]] = [{}, {"client": []}]
_BY_USER: list[dict[str, list[str]]] = [{"bearer": []}]


def _content(schema: _Schema, *media_types: str) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type in media_types}


_RATE_HEADERS: dict[str, Any] = {
    name: {"schema": {"type": "integer"}, "description": description}
    for name, description in (
        ("retry-after", "Seconds after which trying again makes sense."),
        ("x-ratelimit-limit", "The size of the budget that the request is counted in."),
        ("x-ratelimit-remaining", "What is left of it."),
        ("x-ratelimit-reset", "When one more is regained, in seconds since 1970."),
    )
}


def _operation(
    tag: str,
    name: str,
    summary: str,
    *,
    answers: _Schema | None = None,
    takes: str = "",
    security: Sequence[Mapping[str, list[str]]] = (),
    parameters: Sequence[_Schema] = (),
    status: str = "200",
) -> dict[str, Any]:
    on_device = tag == "devices"
    media_types = (_JSON,) if on_device else (_JSON, _FORM)
    error = {"description": "Refused", "content": _content(_ref("DeviceError" if on_device else "Error"), _JSON)}
    done = {"description": "Done"} if answers is None else {"description": "Done", "content": _content(answers, _JSON)}
    operation: dict[str, Any] = {
        "tags": [tag],
        "summary": summary,
        "operationId": name,
        "responses": {
            status: done,
            "4XX": {**error, "headers": _RATE_HEADERS},
            "5XX": {**error, "description": "Failed"},
        },
        "security": list(security),
    }
    if takes:
        operation["requestBody"] = {"required": True, "content": _content(_ref(takes), *media_types)}
    if parameters:
        operation["parameters"] = list(parameters)
    return operation


_ID: _Schema = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "Percent-encoded once.",
    "schema": {"type": "string", "examples": ["totp|dev_8Rk2TqLmXw4YbN0a"]},
}

TOKEN = _operation(
    "tokens",
    "issueToken",
    "Exchange a grant for tokens",
    answers=_ref("Tokens"),
    takes="TokenRequest",
    security=_BY_CLIENT,
)
TOKEN["responses"]["403"] = {
    "description": "A second factor is awaited, or the grant is refused",
    "content": _content({"anyOf": [_ref("MfaRequired"), _ref("Error")]}, _JSON),
}
REVOKE = _operation("tokens", "revokeToken", "Revoke a token", takes="TokenParameter", security=_BY_CLIENT)
INTROSPECT = _operation(
    "tokens",
    "introspectToken",
    "Ask about a token",
    answers=_ref("Introspection"),
    takes="TokenParameter",
    security=_BY_CLIENT,
)
USER_INFO = _operation(
    "tokens", "getUserInfo", "Ask who the user of an access token is", answers=_ref("UserInfo"), security=_BY_USER
)
DISCOVERY = _operation("tokens", "discover", "Describe the issuer", answers=_ref("Discovery"))
SERVER_METADATA = _operation(
    "tokens", "getServerMetadata", "Describe the authorization server", answers=_ref("ServerMetadata")
)
RSA_KEYS = _operation("tokens", "getRsaKeys", "Get the public RSA keys", answers=_ref("JsonWebKeySet"))
KEYS = _operation("tokens", "getJsonWebKeySet", "Get every public key", answers=_ref("JsonWebKeySet"))
CHALLENGE = _operation(
    "challenges",
    "createChallenge",
    "Create a challenge",
    answers=_ref("Challenge"),
    takes="ChallengeRequest",
    security=_BY_CLIENT,
)
ASSOCIATE = _operation(
    "authenticators",
    "enrollAuthenticator",
    "Begin an enrollment",
    answers=_ref("Enrollment"),
    takes="AssociateRequest",
    security=_BY_USER,
)
LIST = _operation(
    "authenticators",
    "listAuthenticators",
    "List the user's authenticators",
    answers={"type": "array", "items": _ref("Authenticator")},
    security=_BY_USER,
)
RENAME = _operation(
    "authenticators",
    "updateAuthenticator",
    "Rename an authenticator",
    answers=_ref("Authenticator"),
    takes="RenameRequest",
    security=_BY_USER,
    parameters=[_ID],
)
DELETE = _operation(
    "authenticators",
    "deleteAuthenticator",
    "Remove an authenticator",
    security=_BY_USER,
    parameters=[_ID],
    status="204",
)


GET_TICKET = _operation(
    "authenticators",
    "getEnrollmentTicket",
    "Ask what an enrollment ticket is for",
    answers=_ref("TicketOffer"),
    takes="TicketParameter",
)
BEGIN_ENROLLMENT = _operation(
    "authenticators",
    "beginEnrollment",
    "Begin an enrollment by ticket",
    answers=_ref("BegunEnrollment"),
    takes="BeginEnrollmentRequest",
)
CONFIRM_ENROLLMENT = _operation(
    "authenticators",
    "confirmEnrollment",
    "Confirm an enrollment by ticket",
    answers=_ref("ConfirmedEnrollment"),
    takes="ConfirmEnrollmentRequest",
)
CONFIRM_ENROLLMENT["responses"]["202"] = {
    "description": "Not confirmed yet",
    "content": _content(_ref("WaitingEnrollment"), _JSON),
}
_ACCOUNT_ID: _Schema = {**_ID, "description": "", "schema": {"type": "string", "examples": ["dev_8Rk2TqLmXw4YbN0a"]}}
ENROLL_DEVICE = _operation(
    "devices",
    "enrollDevice",
    "Enroll a device",
    answers=_ref("EnrolledDevice"),
    takes="DeviceEnrollmentRequest",
    security=[{"ticket": []}],
)
RESOLVE = _operation(
    "devices",
    "resolveTransaction",
    "Answer a push",
    takes="ResolveRequest",
    status="204",
    security=[{"transaction": []}],
)
UPDATE_DEVICE = _operation(
    "devices",
    "updateDevice",
    "Change a device",
    answers=_ref("DeviceAccount"),
    takes="DeviceAccountRequest",
    security=[{"device": []}],
    parameters=[_ACCOUNT_ID],
)
DELETE_DEVICE = _operation(
    "devices", "deleteDevice", "Remove a device", security=[{"device": []}], parameters=[_ACCOUNT_ID], status="204"
)
RICH_CONSENT = _operation(
    "devices",
    "getRichConsent",
    "Get what a login is for",
    answers=_ref("RichConsent"),
    security=[{"proof": []}],
    parameters=[_ACCOUNT_ID],
)


def document(paths: Mapping[str, Any], issuer: str) -> Document:
    """Return the document of an application.

    Args:
        paths: OpenAPI Path Items by path.
        issuer: The server's address; it ends with a slash.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cofactor",
            "summary": "Multi-factor authentication in the shapes of Auth0's MFA API",
            "version": metadata.version("cofactor-server"),
        },
        "servers": [{"url": issuer.rstrip("/")}],
        "paths": dict(paths),
        "components": {"schemas": SCHEMAS, "securitySchemes": _SECURITY_SCHEMES},
    }
