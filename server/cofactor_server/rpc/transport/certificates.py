"""Whom the certificate names that a caller showed (RFC 8705 section 2.1); TLS has verified it before the first call."""

from collections.abc import Set
from functools import lru_cache
from typing import Any

from cryptography import x509

_PEM = "x509_pem_cert"
_NONE: frozenset[str] = frozenset()


def sans(context: Any) -> Set[str]:
    """Return the subject alternative names of the peer's certificate: `dns:` or `uri:` and the name as it stands there.

    None without TLS, without a certificate, and within this process. The subject and names of other types count for
    nothing. gRPC offers the names too, but without their octets after a NUL, which would make one name of two.
    """
    shown = context.auth_context().get(_PEM)
    return _sans(bytes(shown[0])) if shown else _NONE


@lru_cache(maxsize=1024)
def _sans(pem: bytes) -> frozenset[str]:
    try:
        names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return _NONE
    dns = (f"dns:{name}" for name in names.value.get_values_for_type(x509.DNSName))
    uris = (f"uri:{name}" for name in names.value.get_values_for_type(x509.UniformResourceIdentifier))
    return frozenset((*dns, *uris))
