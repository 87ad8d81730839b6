"""Renders QR codes as SVG images."""

import io

import segno

QUIET_ZONE = 4
"""White modules around the code (ISO/IEC 18004 section 5.3.8): readers need them, especially on dark pages."""


def svg(text: str) -> str:
    """Return the QR code of a text as an SVG document, black on white regardless of the page's colors.

    The SVG has no fixed size, only proportions, and contains neither styles nor scripts.

    Raises:
        ValueError: The text is longer than a QR code can hold, 2,331 bytes.
    """
    drawn = io.BytesIO()
    code = segno.make_qr(text, error="m")
    code.save(
        drawn, "svg", border=QUIET_ZONE, light="#fff", xmldecl=False, nl=False, omitsize=True, svgclass="", lineclass=""
    )
    return drawn.getvalue().decode()
