"""The composition root: the only module that builds the application's objects, each once."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio
import structlog
from prometheus_client import CollectorRegistry
from starlette.routing import Route
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from cofactor_server.domain.deployment import Deployment
from cofactor_server.errors import Unavailable
from cofactor_server.factors import registry
from cofactor_server.factors.registry import Registered
from cofactor_server.hooks.deciding import HookClient
from cofactor_server.hooks.target import HookTarget
from cofactor_server.management.app import create_management
from cofactor_server.rest.app import PushRejected, create_app
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rpc.admin import server as admin_server
from cofactor_server.rpc.admin.server import AdminServices
from cofactor_server.rpc.callers import ADMIN_RULES, Admission
from cofactor_server.rpc.interceptors import Interceptor
from cofactor_server.rpc.metrics import Metrics
from cofactor_server.rpc.server import Services, new_server, register
from cofactor_server.rpc.source import Sources
from cofactor_server.rpc.transport.bursts import Bursts
from cofactor_server.rpc.transport.grpc_web import page_methods
from cofactor_server.rpc.transport.local import LocalChannel
from cofactor_server.seams import Clock, Entropy, SystemClock, SystemEntropy
from cofactor_server.services.authenticators.enrollment import Enrolling
from cofactor_server.services.authenticators.imports import TokenImports
from cofactor_server.services.authenticators.management import Authenticators
from cofactor_server.services.authenticators.ticket_issuance import TicketOffice
from cofactor_server.services.authenticators.tickets import Tickets
from cofactor_server.services.callers.authentication import Callers
from cofactor_server.services.callers.client_assertions import Assertions
from cofactor_server.services.callers.operator_tokens import OperatorTokens
from cofactor_server.services.callers.origins import Origins
from cofactor_server.services.challenges.answers import Answering, Answers
from cofactor_server.services.challenges.creation import Challenges
from cofactor_server.services.challenges.watching import Watching
from cofactor_server.services.devices.calls import Devices
from cofactor_server.services.devices.guardian import DeviceAccounts
from cofactor_server.services.devices.pairing import Pairing
from cofactor_server.services.login.endpoint import Tokens
from cofactor_server.services.login.explanation import Explaining
from cofactor_server.services.login.first_factors import FirstFactors
from cofactor_server.services.login.redemption import Redeemer
from cofactor_server.services.login.refresh_grant import RefreshGrants
from cofactor_server.services.login.remembered_browsers import Browsers
from cofactor_server.services.login.throttling import Throttle
from cofactor_server.services.messages.limits import Postage
from cofactor_server.services.messages.notices import Notices, Recipients
from cofactor_server.services.messages.profile_addresses import ProfileAddresses
from cofactor_server.services.messages.sending import NoSender, Sender
from cofactor_server.services.messages.withdrawal import Dispatch
from cofactor_server.services.operators.methods import Methods
from cofactor_server.services.operators.tickets import OperatorTickets
from cofactor_server.services.operators.users_and_clients import Operators
from cofactor_server.services.policy.apis import Apis
from cofactor_server.services.policy.decision_hook import Hooking
from cofactor_server.services.policy.evaluation import Policy
from cofactor_server.services.policy.rules import Policies
from cofactor_server.services.proofs.credentials import Credentials
from cofactor_server.services.proofs.oob_codes import OobCodes
from cofactor_server.services.proofs.switches import Switches
from cofactor_server.services.proofs.verification import Guessing
from cofactor_server.services.tokens.claims import AccessTokens
from cofactor_server.services.tokens.introspection import TokenStates
from cofactor_server.services.tokens.logins import Logins
from cofactor_server.services.tokens.minting import Mint
from cofactor_server.services.tokens.refresh_tokens import RefreshTokens
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.idempotency import Repeats
from cofactor_server.services.transactions.queries import Records
from cofactor_server.services.upkeep.loop import Upkeep
from cofactor_server.services.upkeep.root_keys import Rotation
from cofactor_server.services.upkeep.signing_keys import SigningRotation
from cofactor_server.store import schema
from cofactor_server.store.repositories import deployments
from cofactor_server.store.transactions.database import (
    Contention,
    Database,
    DatabaseAway,
    OutcomeUnknown,
    open_database,
)
from cofactor_server.store.transactions.group_commit import GroupCommit, Limits
from cofactor_server.store.transactions.signals import Notifications, Signals
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.passwords import PasswordCost, Passwords
from cofactor_server.vault.short_codes import ShortCodes
from cofactor_server.vault.signing import Signer
from cofactor_server.vault.signing_keys import Algorithm, generate_signing_key
from cofactor_server.vault.tokens import TokenSealer
from cofactor_server.web import page, qr

log = structlog.get_logger("cofactor")


class Unfit(Exception):
    """The database does not belong to this deployment; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that differs between server deployments, the demo and the tests."""

    database_url: str = field(repr=False)
    keyring: Keyring = field(repr=False)
    deployment: Deployment
    listen_url: str = field(default="", repr=False)
    """The URL of PostgreSQL without a connection pooler, for signals between replicas; empty to poll instead."""
    demo: bool = False
    """Whether this is the demo. A server never opens a demo's database, nor the demo a server's (ADR-12)."""
    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)
    factors: Sequence[Registered] = ()
    """Factors in addition to the shipped ones and the plugins."""
    sender: Sender = field(default_factory=NoSender)
    hook: HookTarget | None = None
    """The operator's decision hook; None for none."""
    password_cost: PasswordCost | None = None
    trusted_proxies: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] | None = None
    push_rejected: PushRejected = "access_denied"
    limits: Limits = field(default_factory=Limits)
    access_log: bool = True


class Application:
    """The wired objects of one process. `opened` creates it."""

    def __init__(  # noqa: PLR0915 - a line for each object
        self, configuration: Configuration, database: Database, signer: Signer
    ) -> None:
        c = configuration
        deployment, clock, entropy = c.deployment, c.clock, c.entropy
        self.configuration = c
        self.database = database
        self._signer = signer
        self._passwords = Passwords(workers=os.cpu_count() or 1, cost=c.password_cost, entropy=entropy)
        self.metrics = CollectorRegistry()
        self._hook = HookClient(c.hook, self.metrics) if c.hook else None
        self._local: list[Interceptor] = []
        self._signals = Signals(Notifications(c.listen_url) if c.listen_url else None)

        columns = Columns(c.keyring)
        sealer = TokenSealer(c.keyring, deployment.issuer)
        shipped = registry.shipped(
            entropy,
            deployment.relying_party,
            strict=deployment.strict,
            hotp_look_ahead=deployment.hotp_look_ahead,
            guardian_url=deployment.guardian_url,
        )
        factors = registry.Registry((*shipped, *registry.plugged(entropy), *c.factors))
        records = Records(database)
        credentials = Credentials(deployment, factors, columns, ShortCodes(c.keyring))
        recipients = Recipients(credentials)
        self._group_commit = GroupCommit(database, entropy, c.limits, self._signals, recipients.sealed)
        self._bursts = Bursts(lambda: self._group_commit.deciding)
        decider = Decider(self._group_commit)
        access_tokens = AccessTokens(deployment, signer, clock)
        logins = Logins(sealer, access_tokens, deployment.mfa_token_life, clock, entropy)
        oob_codes = OobCodes(sealer)
        browsers = Browsers(deployment, sealer, clock)
        self.policies = Policies(deployment, records, clock, entropy)
        self.switches = Switches(deployment, records, credentials, clock)
        self.operator_tokens = OperatorTokens(sealer, clock, entropy)
        refresh_tokens = RefreshTokens(c.keyring, columns, clock, entropy, deployment.refresh_reuse_leeway)
        guessing = Guessing(credentials, disable_after=deployment.disable_after)
        repeats = Repeats(columns)

        answering = Answering(credentials, guessing, clock)
        pairing = Pairing(deployment, answering, clock, entropy)
        self._watching = Watching(
            records=records,
            statements=database.statements,
            signals=self._signals,
            decider=decider,
            oob_codes=oob_codes,
            clock=clock,
        )
        self._devices = Devices(
            pairing=pairing,
            records=records,
            statements=database.statements,
            signals=self._signals,
            decider=decider,
            sealer=sealer,
        )
        addresses = ProfileAddresses(credentials, entropy)
        tokens = TokenImports(records, credentials, recipients, clock, entropy)
        self.operators = Operators(records, self._passwords, addresses, recipients, tokens, clock, entropy)
        self.apis = Apis(deployment, records, clock)
        postage = Postage(deployment, records, c.keyring, clock)
        dispatch = Dispatch(c.sender, postage, credentials, decider, clock)
        self.notices = Notices(records, recipients, c.sender, clock)
        self.upkeep = Upkeep(
            database, records, c.keyring, columns, signer, self.notices, clock, deployment.events_retention
        )
        self.rotation = Rotation(records, columns, c.keyring)
        self.signing_rotation = SigningRotation(records, columns, clock, entropy)
        policy = Policy(deployment, credentials)
        hooking = Hooking(deployment, self._hook, policy, decider)
        throttle = Throttle(deployment, records, c.keyring, clock)
        mint = Mint(deployment, logins, signer, self.apis)
        self.explaining = Explaining(
            deployment=deployment,
            policy=policy,
            policies=self.policies,
            hooking=hooking,
            credentials=credentials,
            apis=self.apis,
            records=records,
            throttle=throttle,
            postage=postage,
            clock=clock,
        )
        enrolling = Enrolling(deployment, credentials, clock, entropy)
        authenticators = Authenticators(
            enrolling=enrolling,
            policies=self.policies,
            records=records,
            decider=decider,
            oob_codes=oob_codes,
            dispatch=dispatch,
        )
        self.ticket_office = TicketOffice(enrolling=enrolling, records=records, decider=decider, sender=c.sender)
        self.admin = AdminServices(
            switches=self.switches,
            policies=self.policies,
            methods=Methods(
                enrolling=enrolling,
                policies=self.policies,
                records=records,
                decider=decider,
                recipients=recipients,
            ),
            tickets=OperatorTickets(self.ticket_office, credentials),
        )
        self.services = Services(
            tokens=Tokens(
                first_factors=FirstFactors(
                    deployment=deployment,
                    policy=policy,
                    policies=self.policies,
                    hooking=hooking,
                    browsers=browsers,
                    records=records,
                    decider=decider,
                    logins=logins,
                    refresh_tokens=refresh_tokens,
                    mint=mint,
                    apis=self.apis,
                    passwords=self._passwords,
                    throttle=throttle,
                    clock=clock,
                    entropy=entropy,
                ),
                refresh_grants=RefreshGrants(
                    deployment=deployment,
                    policy=policy,
                    policies=self.policies,
                    records=records,
                    decider=decider,
                    logins=logins,
                    refresh_tokens=refresh_tokens,
                    repeats=repeats,
                    mint=mint,
                    apis=self.apis,
                    entropy=entropy,
                ),
                redeemer=Redeemer(guessing, refresh_tokens, repeats, browsers, clock, deployment.support_contact),
                logins=logins,
                oob_codes=oob_codes,
                decider=decider,
                mint=mint,
                states=TokenStates(deployment, access_tokens, refresh_tokens, records, decider, clock),
                browsers=browsers,
                origins=Origins(records, clock),
                records=records,
                signer=signer,
                entropy=entropy,
            ),
            challenges=Challenges(
                credentials=credentials,
                decider=decider,
                oob_codes=oob_codes,
                dispatch=dispatch,
                clock=clock,
                entropy=entropy,
                contact=deployment.support_contact,
            ),
            answers=Answers(
                answering=answering,
                records=records,
                decider=decider,
                oob_codes=oob_codes,
            ),
            watching=self._watching,
            authenticators=authenticators,
            devices=self._devices,
            device_accounts=DeviceAccounts(pairing=pairing, records=records, decider=decider),
            explaining=self.explaining,
            tickets=Tickets(
                enrolling=enrolling,
                guessing=guessing,
                authenticators=authenticators,
                oob_codes=oob_codes,
                sealer=sealer,
                records=records,
                decider=decider,
            ),
        )
        self._metrics = Metrics(self.metrics)
        callers = Callers(
            records=records,
            logins=logins,
            access_tokens=access_tokens,
            assertions=Assertions(deployment, records, clock),
            operator_tokens=self.operator_tokens,
            switches=self.switches,
            clock=clock,
        )
        sources = Sources(c.trusted_proxies)
        self._admission = Admission(callers, sources)
        self._admin_admission = Admission(callers, sources, ADMIN_RULES)

    def interceptor(self) -> Interceptor:
        """Return an interceptor for one more server."""
        return self._surrounding(self._admission)

    def local_channel(self) -> LocalChannel:
        """Return an in-process channel to the services."""
        interceptor = self.interceptor()
        self._local.append(interceptor)
        channel = LocalChannel([interceptor])
        register(channel, self.services)
        return channel

    def admin_channel(self) -> LocalChannel:
        """Return an in-process channel to the operators' services."""
        channel = LocalChannel([self._surrounding(self._admin_admission)])
        admin_server.register(channel, self.admin)
        return channel

    def admin_server(self) -> grpc.aio.Server:
        """Return a gRPC server with only the operators' services, not listening yet."""
        server = new_server([self._surrounding(self._admin_admission)])
        admin_server.register(server, self.admin)
        return server

    def _surrounding(self, admission: Admission) -> Interceptor:
        return Interceptor(admission, self._metrics, self._bursts, access_log=self.configuration.access_log)

    def management(self) -> HttpApplication:
        """Return the Management API, which has its own listen address."""
        return create_management(self.admin_channel(), allowed_hosts=self.configuration.allowed_hosts)

    def http(self) -> HttpApplication:
        """Return the HTTP edge: REST and gRPC-Web over an in-process channel, and the hosted page."""
        c = self.configuration
        channel = self.local_channel()
        edge = create_app(
            channel,
            issuer=c.deployment.issuer,
            trusted_proxies=c.trusted_proxies,
            allowed_hosts=c.allowed_hosts,
            push_rejected=c.push_rejected,
            guardian_host=bool(c.deployment.guardian_url),
            draw=qr.svg,
        )
        edge.router.routes.extend(Route(method.path, method, methods=["POST"]) for method in page_methods(channel))
        edge.router.routes.extend(page.routes(c.deployment.support_contact))
        return edge

    def end_streams(self) -> None:
        """End the streams watched over HTTP: otherwise one watching page would delay the shutdown."""
        for interceptor in self._local:
            interceptor.end_streams()

    async def close(self) -> None:
        """Finish every accepted decision, then close everything."""
        await self._watching.close()
        await self._devices.close()
        await self._group_commit.close()
        if self._hook is not None:
            await self._hook.close()
        await self.configuration.sender.close()
        await self._signals.close()
        await self.database.close()
        self._signer.close()
        self._passwords.close()


@asynccontextmanager
async def opened(configuration: Configuration, *, migrate: bool = True) -> AsyncIterator[Application]:
    """Open the database, check that it belongs to this deployment, and yield the application.

    Args:
        configuration: What to build.
        migrate: Whether to bring the schema up to date; otherwise an old schema is refused.

    Raises:
        Unfit: The database belongs to another deployment or a demo, or has another schema.
        KeyringInvalid: The keyring can't open the stored data.
        Unavailable: The database is unavailable.
    """
    database = open_database(configuration.database_url)
    try:
        records = Records(database)
        if migrate:
            await _migrated(database)
        elif not await records.read(schema.is_current):
            raise Unfit("the schema is not current: run `cofactor migrate`")
        await _belongs(configuration, records)
        signer = await _signer(configuration, records)
        application = Application(configuration, database, signer)
        await application.switches.follow()  # commands depend on the switches too, and no call would load them
    except BaseException:
        await database.close()
        raise
    try:
        yield application
    finally:
        await application.close()


async def migrated(configuration: Configuration) -> tuple[str, str]:
    """Bring the schema up to date, and check that the database belongs to this deployment.

    Returns:
        The revision before (empty for a new database) and after.

    Raises:
        Unfit: The database belongs to another deployment or a demo.
        KeyringInvalid: The keyring can't open the stored data.
        Unavailable: The database is unavailable.
    """
    database = open_database(configuration.database_url)
    try:
        revisions = await _migrated(database)
        await _belongs(configuration, Records(database))
    finally:
        await database.close()
    return revisions


async def _migrated(database: Database) -> tuple[str, str]:
    # When replicas start at once, the slower ones fail because the tables exist already, and try again.
    attempts = AsyncRetrying(
        retry=retry_if_exception_type(Exception),
        stop=stop_after_attempt(12),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    try:
        revisions: tuple[str, str] = await attempts(_migrate, database)
    except (Contention, DatabaseAway, OutcomeUnknown):
        raise Unavailable from None
    before, after = revisions
    if before != after:
        log.info("schema migrated", before=before or "nothing", after=after)
    return revisions


async def _migrate(database: Database) -> tuple[str, str]:
    return await database.transact(schema.migrate)


async def _belongs(configuration: Configuration, records: Records) -> None:
    issuer = configuration.deployment.issuer.encode()
    kind = b"demo" if configuration.demo else b"server"
    if await records.change(deployments.state, deployments.DEMO, kind) != kind:
        raise Unfit("a demo's database is for the demo alone, and a server's for servers")
    if await records.change(deployments.state, deployments.ISSUER, issuer) != issuer:
        raise Unfit("the database belongs to another issuer")
    canary = await records.change(deployments.state, deployments.CANARY, configuration.keyring.make_canary())
    configuration.keyring.check_canary(canary)


async def _signer(configuration: Configuration, records: Records) -> Signer:
    clock, columns = configuration.clock, Columns(configuration.keyring)
    keys = await records.read(deployments.signing_keys, columns)
    if {key.algorithm for key in keys} != set(Algorithm):
        made = [
            await asyncio.to_thread(
                generate_signing_key, algorithm, clock, configuration.entropy, active_from=clock.now()
            )
            for algorithm in Algorithm
        ]
        await records.change(deployments.add_first_signing_keys, columns, made)
        keys = await records.read(deployments.signing_keys, columns)
    return Signer(keys, clock)
