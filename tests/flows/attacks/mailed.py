"""Stand-ins for factors that send a code: what is out of band is attacked as such, whoever carries the message."""

import hmac
from collections.abc import Mapping

import msgspec
from cofactor_server.domain.factor_kinds import EMAIL
from cofactor_server.domain.proofs import (
    Account,
    Approved,
    Code,
    Context,
    Enrollment,
    Facts,
    Message,
    Mismatch,
    Possession,
    Prompt,
    Proof,
    Verdict,
)
from cofactor_server.seams import Entropy


class Destination(msgspec.Struct, frozen=True):
    """Where codes go."""

    address: str


class Sent(msgspec.Struct, frozen=True):
    """The code that was sent."""

    code: str


class Mailed:
    """Sends six digits; what they prove depends on the kind."""

    credential_type = Destination
    expected_type = Sent
    prompts = True
    authenticator_type = "oob"

    def __init__(self, entropy: Entropy, kind: str) -> None:
        self._entropy = entropy
        self.kind = kind
        self.listed_type = "email" if kind == EMAIL else "phone"

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[Destination]:
        return Enrollment(Destination(destination), {}, "XXXX")

    def challenge(self, credential: Destination, context: Context) -> Prompt[Sent]:
        code = self._entropy.choose("0123456789", 6)
        return Prompt(Sent(code), send=Message(self.kind, credential.address, code))

    def verify(self, credential: Destination, expected: Sent, proof: Proof, context: Context) -> Verdict[Destination]:
        match proof:
            case Code(value) if hmac.compare_digest(value, expected.code):
                return Approved(credential, self._facts())
        return Mismatch()

    def _facts(self) -> Facts:
        if self.kind == EMAIL:
            return Facts(amr=(), possession=Possession.NONE, delivered_by="email")
        return Facts(amr=("sms",), possession=Possession.SOFTWARE, replay_resistant=True)
