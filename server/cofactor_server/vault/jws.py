"""A JWS in compact form, taken apart before anything in it is believed (RFC 7515 section 3.1)."""

from cofactor_server.domain.foundation.encoding import from_base64url, json_object

REFUSED_HEADERS = frozenset({"crit", "b64", "zip", "enc", "cty"})
"""Ways to say that the token is to be read otherwise: extended, unencoded, compressed, encrypted, nested."""


def parts(token: str, longest: int) -> tuple[str, str, str]:
    """Return header, payload and signature, as they are encoded.

    Args:
        token: What a caller presents, of any length and content.
        longest: Characters.

    Raises:
        ValueError: It has not three parts, or is longer.
    """
    if len(token) > longest:
        raise ValueError("too long")
    header, payload, signature = token.split(".", 3)
    return header, payload, signature


def members(segment: str) -> dict[str, object]:
    """Return the members of an encoded header or payload.

    Raises:
        ValueError: It is not base64url of a JSON object without repeated members.
    """
    return json_object(from_base64url(segment))


def media_type(typ: str) -> str:
    """Return a `typ` in one spelling (RFC 7515 section 4.1.9)."""
    return typ.lower().removeprefix("application/")
