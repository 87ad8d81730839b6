"""Lets operators list, add, replace, rename and remove users' authentication methods (W10)."""

from collections.abc import Sequence

from cofactor_server.domain.authenticators.authenticator import Authenticator, enrolled
from cofactor_server.domain.authenticators.kinds import EMAIL, RECOVERY_CODE, SMS
from cofactor_server.domain.authenticators.methods import EMAIL_VERIFICATION, PHONE, Method, NewMethod, named
from cofactor_server.domain.authenticators.proofs import Account, Kind
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.operators import Operator
from cofactor_server.domain.parties.users import User
from cofactor_server.errors import AuthenticatorNotFound, BearerMissing, CallerNotAllowed, LastAuthenticator, NotFound
from cofactor_server.factors.totp import totp_credential
from cofactor_server.services.authenticators.enrollment import Enrolling
from cofactor_server.services.messages.notices import Recipients
from cofactor_server.services.operators.method_addition import AddMethods
from cofactor_server.services.operators.method_changes import ChangeMethod, RegenerateRecoveryCode, RemoveMethod
from cofactor_server.services.operators.method_views import Describing
from cofactor_server.services.policy.rules import Policies
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import accounts, queries


class Methods:
    """Manages users' methods on the authority of an operator."""

    def __init__(
        self,
        *,
        enrolling: Enrolling,
        policies: Policies,
        records: Records,
        decider: Decider,
        recipients: Recipients,
    ) -> None:
        self._enrolling = enrolling
        self._policies = policies
        self._records = records
        self._decider = decider
        self._recipients = recipients
        self._describing = Describing(enrolling.credentials)

    async def user(self, user_id: str) -> User:
        """Return a user.

        Raises:
            NotFound: There is no such user.
        """
        return (await self._account(user_id)).user

    async def list(self, user_id: str) -> Sequence[Method]:
        """Return a user's methods in the order of offer.

        Raises:
            NotFound: There is no such user.
        """
        account = await self._account(user_id)
        return self._describing.methods(account.authenticators, self._enrolling.clock.now())

    async def enrollments(self, user_id: str) -> Sequence[Method]:
        """Return the methods that a user has enrolled: no recovery codes, and no profile address.

        Raises:
            NotFound: There is no such user.
        """
        return [m for m in await self.list(user_id) if m.type not in (RECOVERY_CODE, EMAIL_VERIFICATION)]

    async def get(self, user_id: str, method_id: str) -> Method:
        """Return one method, by its id or the id of one of its authenticators.

        Raises:
            NotFound: There is no such user.
            AuthenticatorNotFound: The user has no such method.
        """
        account = await self._account(user_id)
        now = self._enrolling.clock.now()
        mine = [a for a in account.authenticators if not a.lapsed(now)]
        found = named(mine, method_id)
        listed = self._describing.methods(found, now)
        if not listed:
            raise AuthenticatorNotFound
        return listed[0]

    async def find(self, suffix: str) -> tuple[str, Method]:
        """Return the user id and the method of the enrollment whose id ends with `suffix`.

        Args:
            suffix: The end of an authenticator's id, such as `dev_8Rk2TqLmXw4YbN0a`.

        Raises:
            AuthenticatorNotFound: There is no such enrollment.
        """
        ids = [f"{kind}|{suffix}" for kind in self._enrolling.credentials.every_kind]
        found = await self._records.read(queries.holders, ids)
        listed = self._describing.methods(
            (a for a in found if a.kind != RECOVERY_CODE and not a.implicit), self._enrolling.clock.now()
        )
        if not listed:
            raise AuthenticatorNotFound
        return found[0].user_id, listed[0]

    async def add(self, caller: Caller, user_id: str, new: NewMethod) -> Method:
        """Add a method, active at once.

        Raises:
            CallerNotAllowed: The profile is strict.
            NotFound: There is no such user.
            FactorDisabled: Its kind is switched off.
            AuthenticatorRegistered: The user has it already.
            TooManyAuthenticators: The user has the maximum number of authenticators.
            PhoneNumberInvalid: The phone number is not valid.
            InvalidRequest: The mail address is invalid, or the secret is too short.
        """
        return (await self._add(caller, user_id, [new], replacing=False))[0]

    async def replace(self, caller: Caller, user_id: str, new: Sequence[NewMethod]) -> Sequence[Method]:
        """Replace all methods; return the new ones with their addresses. An empty `new` acts as `reset`.

        Raises:
            LastAuthenticator: `new` is empty, the user is enrolled, and the settings or a policy rule keep one.
            CofactorError: As `add` raises; nothing has changed then.
        """
        if not new:
            if await self._policies.keep_last(user_id) and enrolled((await self._account(user_id)).authenticators):
                raise LastAuthenticator
            await self.reset(caller, user_id)
            return []
        return await self._add(caller, user_id, new, replacing=True)

    async def change(
        self, caller: Caller, user_id: str, method_id: str, *, name: str | None, preferred: Kind | None
    ) -> Method:
        """Rename a method, or set which way to reach a phone is offered first.

        Raises:
            NotFound: There is no such user.
            AuthenticatorNotFound: The user has no such method.
            InvalidRequest: The method is not a phone that is reached in two ways.
        """
        decision = ChangeMethod(self._enrolling.clock, _operator(caller), user_id, method_id, name, preferred)
        with self._decider.under_way(caller):
            changed = await self._decider.decide(caller, decision)
        return self._describing.method(changed)

    async def remove(self, caller: Caller, user_id: str, method_id: str) -> None:
        """Remove a method and linked authenticators.

        Raises:
            NotFound: There is no such user.
            AuthenticatorNotFound: The user has no such method.
            AuthenticatorUndeletable: It is the profile's verified address.
            LastAuthenticator: It is the last one, and the settings or a policy rule keep it.
        """
        keep_last = await self._policies.keep_last(user_id)
        with self._decider.under_way(caller):
            decision = RemoveMethod(self._enrolling.clock, _operator(caller), user_id, method_id, keep_last)
            await self._decider.decide(caller, decision)

    async def reset(self, caller: Caller, user_id: str) -> None:
        """Remove all methods, and require the user to enroll by ticket; see `Operators.reset_mfa`.

        Raises:
            NotFound: There is no such user.
        """
        now, operator = self._enrolling.clock.now(), _operator(caller)
        reset = accounts.reset_mfa_of
        if await self._records.change(reset, user_id, self._recipients.sealed, now, operator.id) is None:
            raise NotFound

    async def forget_browsers(self, user_id: str) -> int:
        """Forget every remembered browser of a user; return how many there were.

        Raises:
            NotFound: There is no such user.
        """
        forgotten = await self._records.change(accounts.forget_browsers_of, user_id)
        if forgotten is None:
            raise NotFound
        return forgotten

    async def regenerate_recovery_code(self, caller: Caller, user_id: str) -> str:
        """Return a new recovery code, which is never shown again; the old one is invalid at once.

        Raises:
            CallerNotAllowed: The profile is strict.
            NotFound: There is no such user.
            AuthenticatorNotFound: The user has no recovery code.
            FactorDisabled: Recovery codes are switched off.
        """
        with self._decider.under_way(caller):
            return await self._decider.decide(
                caller, RegenerateRecoveryCode(self._enrolling, self._trusted(caller), user_id)
            )

    async def _add(
        self, caller: Caller, user_id: str, new: Sequence[NewMethod], *, replacing: bool
    ) -> Sequence[Method]:
        checked = tuple(self._checked(method) for method in new)
        decision = AddMethods(self._enrolling, self._trusted(caller), user_id, checked, replacing)
        with self._decider.under_way(caller):
            added: list[list[Authenticator]] = await self._decider.decide(caller, decision)
        made = map(self._describing.method, added)
        return [replace(method, address=asked.address) for method, asked in zip(made, checked, strict=True)]

    def _trusted(self, caller: Caller) -> Operator:
        """Return the operator if operators may see or choose a user's secret; the strict profile forbids it (S86)."""
        if self._enrolling.deployment.strict:
            raise CallerNotAllowed
        return _operator(caller)

    def _checked(self, new: NewMethod) -> NewMethod:
        """Return a method with its address in the factor's stored form; the factor refuses bad ones before queueing."""
        if new.secret:
            totp_credential(new.secret)
            return new
        factor = self._enrolling.credentials.known(SMS if new.type == PHONE else EMAIL)
        made = factor.enroll(Account("", "", ""), new.address, {})
        return replace(new, address=factor.address(made.credential))

    async def _account(self, user_id: str) -> queries.Account:
        account = await self._records.read(queries.account, user_id)
        if account is None:
            raise NotFound
        return account


def _operator(caller: Caller) -> Operator:
    if caller.operator is None:
        raise BearerMissing
    return caller.operator
