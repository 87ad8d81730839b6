"""Keys that sign JWTs: made, loaded, and described for the published key set."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from joserfc.jwk import ECKey, RSAKey

from cofactor_server.seams import Clock, Entropy

RSA_BITS = 2_048  # RFC 7518 section 3.3: 2048 or more
LARGEST_RSA_BITS = 4_096  # a larger one would take tens of milliseconds a signature

PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey
PublicJwk: TypeAlias = RSAKey | ECKey


class SigningKeyInvalid(ValueError):
    """A key cannot sign what it is for. The text names the kid and the problem, never key material."""


class Algorithm(StrEnum):
    """How a JWT is signed (RFC 7518 section 3.1). There is no other, and no `none`."""

    RS256 = "RS256"
    ES256 = "ES256"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and its life.

    It is published from the moment it is given to a `Signer`, signs from `active_from` until another of its algorithm
    becomes active later, and verifies until `retire_at`, after which it is neither published nor used. All instants in
    microseconds since the epoch; `kid` is the JWK thumbprint (RFC 7638).
    """

    kid: str
    algorithm: Algorithm
    private_pem: bytes = field(repr=False)
    created_at: int
    active_from: int
    retire_at: int | None


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """A signing key parsed, so that a signature costs no parsing."""

    key: SigningKey
    private: PrivateKey = field(repr=False)
    public: PublicJwk = field(repr=False)
    jwk: dict[str, str] = field(repr=False)

    def retired(self, now: int) -> bool:
        """Whether its life is over at `now`, in microseconds since the epoch."""
        return self.key.retire_at is not None and self.key.retire_at <= now

    def signs(self, now: int) -> bool:
        """Whether it may sign at `now`, in microseconds since the epoch."""
        return self.key.active_from <= now and not self.retired(now)


def generate_signing_key(
    algorithm: Algorithm,
    clock: Clock,
    entropy: Entropy,  # noqa: ARG001 - OpenSSL takes no generator; in the signature because chance is involved
    *,
    active_from: int,
) -> SigningKey:
    """Make a key: RSA of 2,048 bits, or P-256. RSA takes up to a second.

    Args:
        algorithm: What it will sign by.
        clock: Tells when it was made.
        entropy: Not asked: the private key comes from OpenSSL's generator.
        active_from: From when it signs, in microseconds since the epoch. Later than now by the time that verifiers keep
            a key set, unless it is the first key (S158).
    """
    private: PrivateKey
    match algorithm:
        case Algorithm.RS256:
            private = generate_rsa_key(public_exponent=65_537, key_size=RSA_BITS)
        case Algorithm.ES256:
            private = generate_ec_key(SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    kid = _public(private).thumbprint()
    return SigningKey(kid, algorithm, pem, clock.now(), active_from, None)


def load(key: SigningKey) -> LoadedKey:
    """Parse a key.

    Raises:
        SigningKeyInvalid: It does not parse, or is not a key for its algorithm.
    """
    private = _private(key)
    public = _public(private)
    jwk = public.as_dict(private=False, use="sig", alg=key.algorithm.value, kid=key.kid)
    return LoadedKey(key, private, public, {name: str(value) for name, value in jwk.items()})


def _private(key: SigningKey) -> PrivateKey:
    try:
        private = serialization.load_pem_private_key(key.private_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SigningKeyInvalid(f"signing key {key.kid}: not a private key in PEM") from None
    match key.algorithm, private:
        case Algorithm.RS256, RSAPrivateKey() if RSA_BITS <= private.key_size <= LARGEST_RSA_BITS:
            return private
        case Algorithm.ES256, EllipticCurvePrivateKey() if isinstance(private.curve, SECP256R1):
            return private
    raise SigningKeyInvalid(f"signing key {key.kid}: not a key for {key.algorithm}")


def _public(private: PrivateKey) -> PublicJwk:
    pem = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return RSAKey.import_key(pem) if isinstance(private, RSAPrivateKey) else ECKey.import_key(pem)
