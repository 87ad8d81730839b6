"""What a browser's WebAuthn call returned, as far as it is looked at before the factor judges it."""

import json

from cofactor_server.domain.authenticators.proofs import PublicKeyCredential
from cofactor_server.rpc.convert.fields import BASE64URL, SECRET, Fields

CREDENTIAL_LENGTH = 32_768
CREDENTIAL_ID_LENGTH = 1_364  # base64url of the 1,023 octets that WebAuthn allows


def public_key_credential(fields: Fields, text: str) -> PublicKeyCredential:
    """Return a required field `credential_json`, with the id that it states.

    Raises:
        MissingParameter: It is empty.
    """
    credential = fields.required("credential_json", text, CREDENTIAL_LENGTH, SECRET)
    return PublicKeyCredential(_id(credential, fields), credential)


def _id(credential: str, fields: Fields) -> str:
    if len(credential) > CREDENTIAL_LENGTH:
        return ""
    try:
        document = json.loads(credential)
    except (ValueError, RecursionError):
        document = None
    stated = document.get("id") if isinstance(document, dict) else None
    if not isinstance(stated, str) or not stated:
        fields.refuse("credential_json", "is no public key credential in JSON")
        return ""
    return fields.text("credential_json", stated, CREDENTIAL_ID_LENGTH, BASE64URL)
