package dev.cofactor;

import dev.cofactor.v1.AuthenticatorServiceGrpc;
import dev.cofactor.v1.AuthenticatorServiceGrpc.AuthenticatorServiceBlockingStub;
import dev.cofactor.v1.AuthenticatorServiceGrpc.AuthenticatorServiceFutureStub;
import dev.cofactor.v1.ChallengeServiceGrpc;
import dev.cofactor.v1.ChallengeServiceGrpc.ChallengeServiceBlockingStub;
import dev.cofactor.v1.ChallengeServiceGrpc.ChallengeServiceFutureStub;
import dev.cofactor.v1.ChallengeState;
import dev.cofactor.v1.ErrorReason;
import dev.cofactor.v1.IssueTokenRequest;
import dev.cofactor.v1.MfaOobGrant;
import dev.cofactor.v1.TokenServiceGrpc;
import dev.cofactor.v1.TokenServiceGrpc.TokenServiceBlockingStub;
import dev.cofactor.v1.TokenServiceGrpc.TokenServiceFutureStub;
import io.grpc.Channel;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * A client's connection to Cofactor. One is enough for a process; it is safe for many threads, connects at the first call
 * and again whenever the connection is lost.
 *
 * <p>Every unary call has ten seconds, unless it is given others ({@link Calls#within}), and is repeated up to three times
 * while the server is unavailable. What is refused or fails is a {@link CofactorException}.
 */
public final class Cofactor implements AutoCloseable {
    /** How long a unary call may take, retries included, unless it is told otherwise. */
    public static final Duration DEADLINE = Duration.ofSeconds(10);

    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    // Nothing but UNAVAILABLE: every other answer was decided, and asking again would decide anew.
    private static final Map<String, ?> SERVICE_CONFIG = Map.of(
            "methodConfig",
            List.of(Map.of(
                    "name", List.of(Map.of()),
                    "retryPolicy", Map.of(
                            "maxAttempts", 4.0,
                            "initialBackoff", "0.1s",
                            "maxBackoff", "1s",
                            "backoffMultiplier", 2.0,
                            "retryableStatusCodes", List.of("UNAVAILABLE")))));
    // Finds out within a minute that a watched connection is dead; servers allow one every ten seconds.
    private static final Duration PING = Duration.ofSeconds(30);

    private final ManagedChannel transport;
    private final Channel channel;
    private final ScheduledExecutorService timer;
    private final Set<CompletableFuture<?>> waiting = ConcurrentHashMap.newKeySet();

    private Cofactor(ManagedChannel transport, ClientCredentials credentials) {
        this.transport = transport;
        this.channel = ClientInterceptors.intercept(
                transport, new DefaultDeadline(DEADLINE), attaching(credentials.metadata()));
        var timer = new ScheduledThreadPoolExecutor(1, task -> {
            var thread = new Thread(task, "cofactor-timer");
            thread.setDaemon(true);
            return thread;
        });
        timer.setRemoveOnCancelPolicy(true);
        this.timer = timer;
    }

    /**
     * Connects by TLS, trusting the authorities that the Java runtime trusts.
     *
     * @param target such as {@code mfa.example.com:443}
     * @param credentials the client's
     * @return the connection
     */
    public static Cofactor connect(String target, ClientCredentials credentials) {
        return connect(target, credentials, Transport.tls());
    }

    /**
     * Connects. Nothing is sent before the first call.
     *
     * @param target such as {@code mfa.example.com:443}, or {@code unix:/run/cofactor.sock}
     * @param credentials the client's
     * @param transport how calls travel
     * @return the connection
     * @throws IllegalArgumentException if secrets would travel in plain text to another machine, or a certificate is none
     * @throws UncheckedIOException if a certificate or key can't be read
     */
    public static Cofactor connect(String target, ClientCredentials credentials, Transport transport) {
        try {
            var builder = transport
                    .channel(target)
                    .disableServiceConfigLookUp() // Whoever answers for the name would say what is repeated.
                    .defaultServiceConfig(SERVICE_CONFIG)
                    .enableRetry()
                    .keepAliveTime(PING.toSeconds(), TimeUnit.SECONDS)
                    .keepAliveTimeout(PING.toSeconds() / 3, TimeUnit.SECONDS);
            return new Cofactor(builder.build(), credentials);
        } catch (IOException unreadable) {
            throw new UncheckedIOException(unreadable);
        }
    }

    /**
     * Exchanges a grant. A grant that uses something up gets a request id unless it has one, so that it may be repeated
     * after a lost answer.
     *
     * @param request the grant
     * @return what became of it
     * @throws CofactorException if it is refused, or the call fails
     */
    public Outcome issue(IssueTokenRequest request) {
        return issue(request, DEADLINE);
    }

    /**
     * Exchanges a grant, with a deadline of its own.
     *
     * @param request the grant
     * @param deadline how long the call may take, retries included
     * @return what became of it
     * @throws CofactorException if it is refused, or the call fails
     */
    public Outcome issue(IssueTokenRequest request, Duration deadline) {
        return Outcome.of(tokens().within(deadline).call(stub -> stub.issueToken(repeatable(request))));
    }

    /**
     * Exchanges a grant, as {@link #issue(IssueTokenRequest)} does.
     *
     * @param request the grant
     * @return what became of it, or a {@link CofactorException}
     */
    public CompletableFuture<Outcome> issueAsync(IssueTokenRequest request) {
        var called = tokens().callAsync(stub -> stub.issueToken(repeatable(request)));
        return cancelling(called.thenApply(Outcome::of), called);
    }

    /**
     * Tells where a challenge stands, now and at every change, until it is approved or final. A lost connection is taken up
     * again, with growing waits (RFC 8628 section 3.5); what stays the same is told once. Watching redeems nothing.
     *
     * @param mfaToken of the login
     * @param oobCode of the challenge
     * @return the states, which are waited for as they are read, and may throw a {@link CofactorException}; close it
     */
    public Stream<ChallengeState> watch(String mfaToken, String oobCode) {
        BlockingQueue<Object> heard = new LinkedBlockingQueue<>();
        var watching = watchAsync(mfaToken, oobCode, heard::add);
        watching.whenComplete((last, failure) -> heard.add(failure == null ? Heard.END : failure));
        return Heard.states(heard).onClose(() -> watching.cancel(true));
    }

    /**
     * Tells where a challenge stands, as {@link #watch} does.
     *
     * @param mfaToken of the login
     * @param oobCode of the challenge
     * @param heard is told each state, one after the other; it must not block
     * @return the last state, approved or final, or a {@link CofactorException}; cancelling it ends the watch
     */
    public CompletableFuture<ChallengeState> watchAsync(
            String mfaToken, String oobCode, Consumer<? super ChallengeState> heard) {
        var stub = ChallengeServiceGrpc.newStub(bearing(mfaToken));
        return kept(new Watching(stub, oobCode, heard, timer, transport::resetConnectBackoff).begin());
    }

    /**
     * Waits until a challenge is answered elsewhere, then redeems it, once. Where it can't be watched, it is polled at the
     * interval that the server wants.
     *
     * @param mfaToken of the login, or the access token that began an enrollment
     * @param oobCode of the challenge
     * @return tokens, or one more factor that is needed
     * @throws CofactorException if it is denied ({@code CHALLENGE_DENIED}) or expires ({@code OOB_CODE_EXPIRED}), if the
     *     login can't go on, or if the server can't be reached for ten minutes
     */
    public Outcome awaitTokens(String mfaToken, String oobCode) {
        return awaited(awaitTokensAsync(mfaToken, oobCode));
    }

    /**
     * Redeems a challenge by the code that the user typed, and waits where the server wants more time.
     *
     * @param mfaToken of the login
     * @param oobCode of the challenge
     * @param bindingCode what the user typed
     * @return tokens, or one more factor that is needed
     * @throws CofactorException as of {@link #awaitTokens(String, String)}, or if the code is wrong
     */
    public Outcome awaitTokens(String mfaToken, String oobCode, String bindingCode) {
        return awaited(awaitTokensAsync(mfaToken, oobCode, bindingCode));
    }

    /**
     * Waits until a challenge is answered elsewhere, as {@link #awaitTokens(String, String)} does.
     *
     * @param mfaToken of the login
     * @param oobCode of the challenge
     * @return tokens, or one more factor that is needed, or a {@link CofactorException}; cancelling it ends the waiting
     */
    public CompletableFuture<Outcome> awaitTokensAsync(String mfaToken, String oobCode) {
        var polling = polling(mfaToken, oobCode, "");
        var watching = watchAsync(mfaToken, oobCode, state -> {});
        watching.whenComplete((last, failure) -> {
            // A state that is final is asked for as well: the server says why there are no tokens.
            if (failure == null || cannotWatch(CofactorException.of(failure))) {
                polling.begin();
            } else {
                polling.result().completeExceptionally(CofactorException.of(failure));
            }
        });
        return kept(cancelling(polling.result(), watching));
    }

    /**
     * Redeems a challenge by the code that the user typed, as {@link #awaitTokens(String, String, String)} does.
     *
     * @param mfaToken of the login
     * @param oobCode of the challenge
     * @param bindingCode what the user typed
     * @return tokens, or one more factor that is needed, or a {@link CofactorException}
     */
    public CompletableFuture<Outcome> awaitTokensAsync(String mfaToken, String oobCode, String bindingCode) {
        var polling = polling(mfaToken, oobCode, bindingCode);
        polling.begin();
        return kept(polling.result());
    }

    /**
     * Calls by the client's own authority: tokens, keys, revocation, introspection.
     *
     * @return the service
     */
    public Calls<TokenServiceBlockingStub, TokenServiceFutureStub> tokens() {
        return tokensOn(channel);
    }

    /**
     * Calls by a user's authority, such as {@code getUserInfo}.
     *
     * @param bearer an access token
     * @return the service
     */
    public Calls<TokenServiceBlockingStub, TokenServiceFutureStub> tokens(String bearer) {
        return tokensOn(bearing(bearer));
    }

    /**
     * Calls of a device, which signs what it says.
     *
     * @return the service
     */
    public Calls<ChallengeServiceBlockingStub, ChallengeServiceFutureStub> challenges() {
        return challengesOn(channel);
    }

    /**
     * Calls for a login.
     *
     * @param bearer its mfa_token
     * @return the service
     */
    public Calls<ChallengeServiceBlockingStub, ChallengeServiceFutureStub> challenges(String bearer) {
        return challengesOn(bearing(bearer));
    }

    /**
     * Calls of a device, which signs what it says.
     *
     * @return the service
     */
    public Calls<AuthenticatorServiceBlockingStub, AuthenticatorServiceFutureStub> authenticators() {
        return authenticatorsOn(channel);
    }

    /**
     * Calls by a user's authority.
     *
     * @param bearer an mfa_token, or an access token for the MFA audience
     * @return the service
     */
    public Calls<AuthenticatorServiceBlockingStub, AuthenticatorServiceFutureStub> authenticators(String bearer) {
        return authenticatorsOn(bearing(bearer));
    }

    /**
     * For stubs of other services, and calls that this class has no method for: with credentials, deadline and retries. Make
     * a {@link CofactorException} of what such a stub throws.
     *
     * @return the channel, which is closed with this connection
     */
    public Channel channel() {
        return channel;
    }

    /** Closes the connection; what still waits ends as cancelled. */
    @Override
    public void close() {
        transport.shutdownNow();
        timer.shutdownNow();
        for (var unfinished : waiting) {
            unfinished.completeExceptionally(CofactorException.cancelled("the connection was closed"));
        }
    }

    private static Calls<TokenServiceBlockingStub, TokenServiceFutureStub> tokensOn(Channel channel) {
        return new Calls<>(TokenServiceGrpc.newBlockingStub(channel), TokenServiceGrpc.newFutureStub(channel), null);
    }

    private static Calls<ChallengeServiceBlockingStub, ChallengeServiceFutureStub> challengesOn(Channel channel) {
        var future = ChallengeServiceGrpc.newFutureStub(channel);
        return new Calls<>(ChallengeServiceGrpc.newBlockingStub(channel), future, null);
    }

    private static Calls<AuthenticatorServiceBlockingStub, AuthenticatorServiceFutureStub> authenticatorsOn(
            Channel channel) {
        var future = AuthenticatorServiceGrpc.newFutureStub(channel);
        return new Calls<>(AuthenticatorServiceGrpc.newBlockingStub(channel), future, null);
    }

    private Channel bearing(String token) {
        var metadata = new Metadata();
        // gRPC leaves out what can't be sent, and logs it: better have the server refuse it, for a token has no such mark.
        metadata.put(AUTHORIZATION, "Bearer " + token.replaceAll("[^!-~]", "?"));
        return ClientInterceptors.intercept(channel, attaching(metadata));
    }

    private static ClientInterceptor attaching(Metadata metadata) {
        return MetadataUtils.newAttachHeadersInterceptor(metadata);
    }

    private Polling polling(String mfaToken, String oobCode, String bindingCode) {
        var grant = MfaOobGrant.newBuilder().setMfaToken(mfaToken).setOobCode(oobCode).setBindingCode(bindingCode);
        var request = IssueTokenRequest.newBuilder().setMfaOob(grant).build();
        return new Polling(request, this::issueAtOnce, timer);
    }

    /** Asks now, though gRPC, after some failures, would rather wait longer than we do. */
    private CompletableFuture<Outcome> issueAtOnce(IssueTokenRequest request) {
        transport.resetConnectBackoff();
        return issueAsync(request);
    }

    private static IssueTokenRequest repeatable(IssueTokenRequest request) {
        var usesUp = switch (request.getGrantCase()) {
            case MFA_OTP, MFA_OOB, MFA_RECOVERY_CODE, MFA_WEBAUTHN, REFRESH_TOKEN -> true;
            default -> false;
        };
        if (!usesUp || !request.getRequestId().isEmpty()) {
            return request;
        }
        return request.toBuilder().setRequestId(UUID.randomUUID().toString()).build();
    }

    private static boolean cannotWatch(CofactorException refused) {
        return switch (refused.code()) {
            case UNIMPLEMENTED, RESOURCE_EXHAUSTED -> true;
            // An access token for the MFA audience redeems what it enrolled, and watches nothing.
            default -> refused.is(ErrorReason.ERROR_REASON_MFA_TOKEN_MALFORMED);
        };
    }

    private <T> CompletableFuture<T> kept(CompletableFuture<T> future) {
        waiting.add(future);
        future.whenComplete((value, failure) -> waiting.remove(future));
        if (timer.isShutdown()) {
            future.completeExceptionally(CofactorException.cancelled("the connection was closed"));
        }
        return future;
    }

    /** Makes the end of one future, by whomever, the end of another. */
    private static <T> CompletableFuture<T> cancelling(CompletableFuture<T> future, CompletableFuture<?> other) {
        future.whenComplete((value, failure) -> other.cancel(true));
        return future;
    }

    private static <T> T awaited(CompletableFuture<T> future) {
        try {
            return future.get();
        } catch (InterruptedException interrupted) {
            future.cancel(true);
            Thread.currentThread().interrupt();
            throw CofactorException.cancelled("the thread was interrupted");
        } catch (ExecutionException failed) {
            throw CofactorException.of(failed.getCause());
        }
    }
}
