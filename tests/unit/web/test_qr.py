from xml.etree import ElementTree as ET

import pytest
from cofactor_server.web import qr

URI = "otpauth://totp/Example:jane%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Example"


def test_a_code_is_drawn_dark_on_light_with_four_quiet_modules_around() -> None:
    root = ET.fromstring(qr.svg(URI))
    light, dark = root
    size = int(root.attrib["viewBox"].split()[-1])

    assert root.attrib.keys() == {"viewBox"}
    assert (light.attrib["fill"], light.attrib["d"]) == ("#fff", f"M0 0h{size}v{size}h-{size}z")
    assert dark.attrib["stroke"] == "#000"
    assert dark.attrib["d"].startswith("M4 4.5h7m")  # the finder in the corner
    assert (size - 8 - 17) % 4 == 0


def test_the_longest_label_fits() -> None:
    assert qr.svg(URI + "x" * 1_000)


def test_what_no_code_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        qr.svg("x" * 3_000)
