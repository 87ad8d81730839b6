"""QR codes as pictures."""

import io

import segno

QUIET_ZONE = 4
"""Modules of white around the code (ISO/IEC 18004 section 5.3.8): readers need it, on dark pages above all."""


def svg(text: str) -> str:
    """Return the QR code of a text as an SVG document, black on white whatever the page's colors are.

    It has no size of its own, only proportions, and neither styles nor scripts.

    Raises:
        ValueError: The text is longer than a QR code holds, 2,331 octets.
    """
    drawn = io.BytesIO()
    code = segno.make_qr(text, error="m")
    code.save(
        drawn, "svg", border=QUIET_ZONE, light="#fff", xmldecl=False, nl=False, omitsize=True, svgclass="", lineclass=""
    )
    return drawn.getvalue().decode()
