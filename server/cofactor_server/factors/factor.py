"""What a way to prove possession must be able to do, and what it says of itself."""

from collections.abc import Mapping
from typing import Protocol

from cofactor_server.domain.authenticators.proofs import (
    Account,
    C,
    Context,
    Enrollment,
    Kind,
    Prompt,
    Proof,
    S,
    Verdict,
)


class Factor(Protocol[C, S]):
    """One way to prove possession. It computes; the core stores and sends.

    A factor does no I/O and asks no clock: time is `Context.now`, chance an `Entropy` given to its constructor. `C`
    and `S` are types that msgspec encodes (a frozen `msgspec.Struct` with `forbid_unknown_fields=True` is the strict
    choice), and no secret shows in their repr.

    A factor whose challenge is answered on a device, while the login polls, sets `on_device = True` beside what is
    below.

    Changing one of them: add fields with defaults, never rename or retype; what is stored outlives the release.
    """

    @property
    def kind(self) -> Kind:
        """The name under which credentials are stored, the prefix of an authenticator's id."""
        ...

    @property
    def credential_type(self) -> type[C]:
        """What the core keeps for an authenticator, encrypted and unread."""
        ...

    @property
    def expected_type(self) -> type[S]:
        """What the core keeps for a challenge, likewise; `NoneType` exactly where `prompts` is false."""
        ...

    @property
    def prompts(self) -> bool:
        """True where a challenge must exist before it can be answered; false for `totp` and `recovery-code`."""
        ...

    @property
    def listed_type(self) -> str:
        """`type` of an authenticator in lists (W9), such as `otp`, `phone`, `push-notification`."""
        ...

    @property
    def authenticator_type(self) -> str:
        """`authenticator_type` (W9): `otp`, `oob` or `recovery-code`."""
        ...

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[C]:
        """Make a new, unconfirmed credential.

        Args:
            account: Whose it will be, as it may be shown to that user.
            destination: A validated phone number or address; empty where the factor sends nothing.
            options: The factor's own settings by name. One that it does not know is refused.

        Raises:
            InvalidRequest: An option is unknown or out of range; `violations` names it.
        """
        ...

    def challenge(self, credential: C, context: Context) -> Prompt[S]:
        """Say what will be expected, what the caller may see, and what is to be sent after commit."""
        ...

    def verify(self, credential: C, expected: S, proof: Proof, context: Context) -> Verdict[C]:
        """Judge an untrusted proof.

        The verdict's credential is the state from now on; only `Approved` carries one, so a failure changes nothing. An
        exception that parsing raises (`registry.PARSE_ERRORS`) counts as `Mismatch`.
        """
        ...
