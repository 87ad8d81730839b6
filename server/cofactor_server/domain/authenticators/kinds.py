"""The kinds of factor that Cofactor itself names; plugins add names of their own."""

TOTP = "totp"
HOTP = "hotp"
SMS = "sms"
VOICE = "voice"
EMAIL = "email"
PUSH = "push"
WEBAUTHN = "webauthn"
RECOVERY_CODE = "recovery-code"

OTP_KINDS = frozenset({TOTP, HOTP})
"""Kinds whose code goes straight to the Token endpoint, with no challenge before it."""

PHONE_KINDS = frozenset({SMS, VOICE})
"""Kinds that reach one telephone number, and are enrolled together where both are switched on (W9)."""

RETIRED = {
    "duo": "push, or a security key (webauthn)",
    "google-authenticator": "an authenticator app (otp, or totp over gRPC)",
}
"""Kinds that applications may still ask for, and what there is instead."""

RESTRICTED = PHONE_KINDS | {EMAIL}
"""Kinds whose codes others may read on their way: the strict profile serves none of them (S80, S94)."""

OURS = frozenset({TOTP, HOTP, SMS, VOICE, EMAIL, PUSH, WEBAUTHN, RECOVERY_CODE})
"""Kinds with a name of their own in the protocol, whether or not this process serves them."""
