"""Security keys, platform authenticators and passkeys: keys that sign for one domain only, WebAuthn Level 3.

The `webauthn` library judges attestations and assertions. What it leaves to its caller, or takes too lightly, is judged
here: strict base64url, the challenge to the letter, cross-origin pages, which credential answered and whose it is, the
size of keys, the flags that must not change, and a sign count that went back.
"""

# ruff: noqa: ARG002 - a factor takes what the interface gives

import base64
import hmac
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    parse_attestation_object,
)
from webauthn.helpers import structs as w
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.registration.verify_registration_response import VerifiedRegistration

from cofactor_server.domain.authenticators.kinds import WEBAUTHN
from cofactor_server.domain.authenticators.proofs import (
    Account,
    Approved,
    Context,
    Enrollment,
    Facts,
    Mismatch,
    Possession,
    Prompt,
    Proof,
    PublicKeyCredential,
    Verdict,
)
from cofactor_server.domain.challenges.challenge import CHALLENGE_LIFE
from cofactor_server.domain.foundation.encoding import base64url
from cofactor_server.domain.parties.relying_party import RelyingParty, UserVerification
from cofactor_server.errors import InvalidRequest
from cofactor_server.seams import Entropy

V = TypeVar("V")

CHALLENGE_OCTETS = 32
LONGEST_CREDENTIAL_ID = 1_023
"""Octets, WebAuthn Level 3 section 7.1 step 25 (S165)."""
ALGORITHMS = (
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
)
"""In the order in which an authenticator is to prefer them (S168)."""
ATTESTATION_FORMATS = frozenset({"none", "packed"})
"""What authenticators and browsers return where no attestation is asked for; others are refused unread (S169)."""
RSA_BITS = range(2_048, 4_097)
RSA_EXPONENT = 65_537

CHECK_ORIGIN = "check_origin"
VERIFICATION_REQUIRED = "user_verification_required"

_TRANSPORTS = {transport.value: transport for transport in w.AuthenticatorTransport}

_CredentialId = Annotated[bytes, msgspec.Meta(min_length=1, max_length=LONGEST_CREDENTIAL_ID)]


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A registered credential: one key pair of one authenticator, for one relying party."""

    id: _CredentialId
    public_key: bytes
    """COSE_Key, RFC 9052 section 7."""
    sign_count: int
    backup_eligible: bool
    """Whether it may be copied to other devices, as passkeys that synchronize are; never changes (S163)."""
    backed_up: bool
    transports: tuple[str, ...] = ()
    """How the browser reaches it, such as `usb` or `internal`; a hint."""
    aaguid: str = ""
    """The authenticator's model, as far as it told."""

    def __repr__(self) -> str:
        return "Key()"


class WebAuthnCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A credential that is to be made, or was."""

    user_handle: Annotated[bytes, msgspec.Meta(min_length=1, max_length=64)]
    """Names the account to the authenticator, and is nothing that a person would know it by."""
    account: str = ""
    """What the browser calls the account while the credential is made; not kept longer."""
    resident_key: bool = False
    key: Key | None = None
    """None until the first good answer."""

    def __repr__(self) -> str:
        return f"WebAuthnCredential(registered={self.key is not None})"


class WebAuthnExpected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one ceremony has to answer."""

    challenge: Annotated[bytes, msgspec.Meta(min_length=16)]
    ceremony: Literal["create", "get"]
    allowed: tuple[_CredentialId, ...] = ()
    """Credentials that may sign it."""

    def __repr__(self) -> str:
        return f"WebAuthnExpected(ceremony={self.ceremony!r})"


class _Response(msgspec.Struct, frozen=True):
    # `AuthenticatorAttestationResponseJSON` or `AuthenticatorAssertionResponseJSON`.
    clientDataJSON: str  # noqa: N815 - the wire's names
    attestationObject: str = ""  # noqa: N815
    authenticatorData: str = ""  # noqa: N815
    signature: str = ""
    userHandle: str | None = None  # noqa: N815
    transports: list[Any] | None = None


class _Document(msgspec.Struct, frozen=True):
    id: str
    rawId: str  # noqa: N815
    type: Literal["public-key"]
    response: _Response


class _ClientData(msgspec.Struct, frozen=True):
    type: str
    challenge: str
    origin: str
    crossOrigin: bool | None = None  # noqa: N815
    topOrigin: str | None = None  # noqa: N815


_read_document = msgspec.json.Decoder(_Document).decode
_read_client_data = msgspec.json.Decoder(_ClientData).decode


class WebAuthn:
    """Registers a key pair and has it sign: phishing-resistant, since a browser lets no other domain ask (S161, S162).

    Attestation is not asked for, so that nothing is known of a device but what it says of itself: a credential that may
    not be copied counts as bound to hardware.

    Args:
        entropy: Draws the challenges.
        relying_party: For whom credentials are made, and on which pages.
    """

    kind: Final = WEBAUTHN
    credential_type: Final = WebAuthnCredential
    expected_type: Final = WebAuthnExpected
    prompts: Final = True
    listed_type: Final = "webauthn"
    authenticator_type: Final = "webauthn"

    def __init__(self, entropy: Entropy, relying_party: RelyingParty) -> None:
        self._entropy = entropy
        self._rp = relying_party
        self._user_verification = w.UserVerificationRequirement(relying_party.user_verification.value)

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[WebAuthnCredential]:
        """Begin with no key; the challenge that follows shows what the browser needs to have one made.

        Options: `resident_key` true (a passkey, found without knowing the user) or false (default).
        """
        for name in options.keys() - {"resident_key"}:
            raise InvalidRequest(violations=((name, "unknown to this kind of authenticator"),))
        if options.get("resident_key", "false") not in ("true", "false"):
            raise InvalidRequest(violations=(("resident_key", "must be true or false"),))
        # The account's id is opaque (ADR-6); only `_check` of a request has none.
        handle = account.user_id.encode()[:64] or b"-"
        resident_key = options.get("resident_key") == "true"
        return Enrollment(WebAuthnCredential(handle, account.label, resident_key), {})

    def challenge(self, credential: WebAuthnCredential, context: Context) -> Prompt[WebAuthnExpected]:
        """Show, as `public_key_json`, what `navigator.credentials.create` or `get` takes.

        A login may be answered by any of `Context.siblings` as well. Credentials that are there already are named in a
        creation, so that an authenticator is not registered twice.
        """
        challenge = self._entropy.octets(CHALLENGE_OCTETS)
        siblings = [sibling.key for sibling in context.siblings if sibling.key is not None]
        if credential.key is None:
            show = self._creation(credential, challenge, siblings)
            return Prompt(WebAuthnExpected(challenge, "create"), {"public_key_json": show})
        keys = [credential.key, *siblings]
        request = generate_authentication_options(
            rp_id=self._rp.id,
            challenge=challenge,
            timeout=CHALLENGE_LIFE // 1_000,
            allow_credentials=[_descriptor(key) for key in keys],
            user_verification=self._user_verification,
        )
        expected = WebAuthnExpected(challenge, "get", tuple(key.id for key in keys))
        return Prompt(expected, {"public_key_json": options_to_json(request)})

    def verify(
        self, credential: WebAuthnCredential, expected: WebAuthnExpected, proof: Proof, context: Context
    ) -> Verdict[WebAuthnCredential]:
        """Judge what the browser returned, WebAuthn Level 3 sections 7.1 and 7.2.

        `Mismatch.cloned` marks a good signature whose count went back (S164). `Mismatch.hint` is `check_origin` where a
        page of an origin that is not listed asked, and `user_verification_required` where only that is missing.
        """
        if not isinstance(proof, PublicKeyCredential):
            return Mismatch()
        document = _read_document(proof.document)
        client_data_json = _octets(document.response.clientDataJSON)
        client_data = _read_client_data(client_data_json)
        written = base64url(expected.challenge)
        if client_data.type != f"webauthn.{expected.ceremony}":
            return Mismatch()
        if not hmac.compare_digest(client_data.challenge.encode(), written.encode()):
            return Mismatch()
        if client_data.crossOrigin or client_data.topOrigin is not None:  # S170
            return Mismatch()
        if not self._rp.accepts(client_data.origin):
            return Mismatch(hint=CHECK_ORIGIN)
        if expected.ceremony == "create":
            return self._registered(credential, expected, document, client_data)
        return self._asserted(credential, expected, document, client_data)

    def _creation(self, credential: WebAuthnCredential, challenge: bytes, existing: list[Key]) -> str:
        wanted = w.ResidentKeyRequirement.REQUIRED if credential.resident_key else w.ResidentKeyRequirement.DISCOURAGED
        creation = generate_registration_options(
            rp_id=self._rp.id,
            rp_name=self._rp.name,
            user_id=credential.user_handle,
            user_name=credential.account or self._rp.name,
            challenge=challenge,
            timeout=CHALLENGE_LIFE // 1_000,
            attestation=w.AttestationConveyancePreference.NONE,
            authenticator_selection=w.AuthenticatorSelectionCriteria(
                resident_key=wanted, user_verification=self._user_verification
            ),
            exclude_credentials=[_descriptor(key) for key in existing],
            supported_pub_key_algs=list(ALGORITHMS),
        )
        return options_to_json(creation)

    def _registered(
        self, credential: WebAuthnCredential, expected: WebAuthnExpected, document: _Document, client_data: _ClientData
    ) -> Verdict[WebAuthnCredential]:
        if credential.key is not None:  # nothing replaces a key that its user has
            return Mismatch()
        raw_id = _octets(document.rawId)
        attestation = _octets(document.response.attestationObject)
        returned = w.RegistrationCredential(
            id=document.id,
            raw_id=raw_id,
            response=w.AuthenticatorAttestationResponse(_octets(document.response.clientDataJSON), attestation),
        )

        def judge() -> VerifiedRegistration | None:
            parsed = parse_attestation_object(attestation)
            if parsed.fmt not in ATTESTATION_FORMATS:
                return None
            verified = verify_registration_response(
                credential=returned,
                expected_challenge=expected.challenge,
                expected_rp_id=self._rp.id,
                expected_origin=client_data.origin,
                supported_pub_key_algs=list(ALGORITHMS),
            )
            return verified if _is_sound(verified.credential_public_key) else None

        verified = _unless_it_fails(judge)
        if verified is None or verified.credential_id != raw_id or len(raw_id) > LONGEST_CREDENTIAL_ID:
            return Mismatch()
        if not self._verified_enough(verified.user_verified):
            return Mismatch(hint=VERIFICATION_REQUIRED)
        key = Key(
            id=raw_id,
            public_key=verified.credential_public_key,
            sign_count=verified.sign_count,
            backup_eligible=verified.credential_device_type is w.CredentialDeviceType.MULTI_DEVICE,
            backed_up=verified.credential_backed_up,
            transports=_transports(document.response.transports or []),
            aaguid=verified.aaguid,
        )
        return self._approved(credential, key, verified.user_verified)

    def _asserted(
        self, credential: WebAuthnCredential, expected: WebAuthnExpected, document: _Document, client_data: _ClientData
    ) -> Verdict[WebAuthnCredential]:
        key, raw_id = credential.key, _octets(document.rawId)
        if key is None or raw_id != key.id or raw_id not in expected.allowed:  # S166
            return Mismatch()
        response = document.response
        if response.userHandle and _octets(response.userHandle) != credential.user_handle:  # S167
            return Mismatch()
        returned = w.AuthenticationCredential(
            id=document.id,
            raw_id=raw_id,
            response=w.AuthenticatorAssertionResponse(
                _octets(response.clientDataJSON), _octets(response.authenticatorData), _octets(response.signature)
            ),
        )
        verified = _unless_it_fails(
            lambda: verify_authentication_response(
                credential=returned,
                expected_challenge=expected.challenge,
                expected_rp_id=self._rp.id,
                expected_origin=client_data.origin,
                credential_public_key=key.public_key,
                # The library looks at the count before the signature: anybody could forge a clone's alarm.
                credential_current_sign_count=0,
            )
        )
        if verified is None:
            return Mismatch()
        if (verified.credential_device_type is w.CredentialDeviceType.MULTI_DEVICE) != key.backup_eligible:
            return Mismatch()
        if not self._verified_enough(verified.user_verified):
            return Mismatch(hint=VERIFICATION_REQUIRED)
        count = verified.new_sign_count
        if (count or key.sign_count) and count <= key.sign_count:
            return Mismatch(cloned=True)
        used = msgspec.structs.replace(key, sign_count=count, backed_up=verified.credential_backed_up)
        return self._approved(credential, used, verified.user_verified)

    def _verified_enough(self, user_verified: bool) -> bool:
        return user_verified or self._rp.user_verification is not UserVerification.REQUIRED

    def _approved(self, credential: WebAuthnCredential, key: Key, user_verified: bool) -> Approved[WebAuthnCredential]:
        kept = msgspec.structs.replace(credential, key=key, account="")
        unique = base64url(key.id)
        facts = Facts(
            amr=("swk" if key.backup_eligible else "hwk", "user"),
            possession=Possession.SOFTWARE if key.backup_eligible else Possession.HARDWARE,
            user_verified=user_verified,
            phishing_resistant=True,
            replay_resistant=True,
            exportable=key.backup_eligible,
        )
        return Approved(kept, facts, unique=unique)


def _unless_it_fails(judge: Callable[[], V | None]) -> V | None:
    """Return what is concluded with the library; None where it refuses.

    It refuses by exceptions of its own, and what CBOR of an unexpected shape makes of its code is a TypeError or an
    AttributeError as often.
    """
    try:
        return judge()
    except Exception:
        return None


def _octets(text: str) -> bytes:
    """Decode base64url, padded or not; anything else in it is an error, where Python's decoder would skip it."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _is_sound(cose: bytes) -> bool:
    """Whether a public key is one of its algorithm, of a size that protects its owner, and cheap to verify with."""
    stated = decode_credential_public_key(cose)
    match stated.alg, decoded_public_key_to_cryptography(stated):
        case COSEAlgorithmIdentifier.ECDSA_SHA_256, EllipticCurvePublicKey(curve=SECP256R1()):
            return True
        case COSEAlgorithmIdentifier.EDDSA, Ed25519PublicKey():
            return True
        case COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256, RSAPublicKey() as key:
            return key.key_size in RSA_BITS and key.public_numbers().e == RSA_EXPONENT
    return False


def _transports(named: list[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in named if isinstance(name, str) and name in _TRANSPORTS))


def _descriptor(key: Key) -> w.PublicKeyCredentialDescriptor:
    known = [_TRANSPORTS[name] for name in key.transports if name in _TRANSPORTS]
    return w.PublicKeyCredentialDescriptor(id=key.id, transports=known or None)
