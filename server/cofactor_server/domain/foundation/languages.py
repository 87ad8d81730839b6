"""What languages somebody reads, best first (RFC 9110 section 12.5.4)."""

import re

MOST = 5
"""Languages that are looked at."""

_RANGE = re.compile(r"([A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*[qQ]=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?")


def preferred(accepted: str) -> tuple[str, ...]:
    """Return BCP 47 tags in order of preference, of `Accept-Language`; what is malformed in it is left out."""
    found = []
    for part in accepted.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is not None and (weight := float(match[2] or 1)) > 0:
            found.append((weight, match[1]))
    found.sort(key=lambda pair: -pair[0])
    return tuple(tag for _, tag in found[:MOST])
