package dev.cofactor;

import static dev.cofactor.FakeServer.answers;
import static dev.cofactor.FakeServer.issued;
import static dev.cofactor.FakeServer.pending;
import static dev.cofactor.FakeServer.refusal;
import static dev.cofactor.FakeServer.refuses;
import static dev.cofactor.FakeServer.tells;
import static dev.cofactor.v1.ChallengeState.CHALLENGE_STATE_APPROVED;
import static dev.cofactor.v1.ChallengeState.CHALLENGE_STATE_DENIED;
import static dev.cofactor.v1.ChallengeState.CHALLENGE_STATE_PENDING;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.RetryInfo;
import dev.cofactor.v1.ChallengeState;
import dev.cofactor.v1.IssueTokenRequest;
import dev.cofactor.v1.WatchChallengeResponse;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class WatchTest {
    private FakeServer server;
    private Cofactor cofactor;

    @BeforeEach
    void open() throws IOException {
        server = new FakeServer();
        cofactor = server.connect();
    }

    @AfterEach
    void close() {
        cofactor.close();
        server.close();
    }

    private List<ChallengeState> watched() {
        try (var states = cofactor.watch("token", "code")) {
            return states.toList();
        }
    }

    private static Consumer<StreamObserver<WatchChallengeResponse>> pendingThen(
            Consumer<StreamObserver<WatchChallengeResponse>> more) {
        return tells(CHALLENGE_STATE_PENDING).andThen(more);
    }

    @Test
    void aWatchEndsWithTheApproval() throws InterruptedException {
        server.watches.add(tells(CHALLENGE_STATE_PENDING, CHALLENGE_STATE_APPROVED));

        assertEquals(List.of(CHALLENGE_STATE_PENDING, CHALLENGE_STATE_APPROVED), watched());
        assertTrue(server.left.await(30, TimeUnit.SECONDS));
    }

    @Test
    void aLostStreamIsTakenUpAgainAndTellsNothingTwice() {
        server.watches.add(pendingThen(refuses(Status.UNAVAILABLE.asRuntimeException())));
        server.watches.add(pendingThen(StreamObserver::onCompleted));
        server.watches.add(tells(CHALLENGE_STATE_PENDING, CHALLENGE_STATE_DENIED));

        assertEquals(List.of(CHALLENGE_STATE_PENDING, CHALLENGE_STATE_DENIED), watched());
    }

    @Test
    void aWatchThatIsRefusedSaysWhy() {
        server.watches.add(pendingThen(refuses(refusal(Status.Code.UNAUTHENTICATED, "MFA_TOKEN_STALE"))));
        var heard = new ArrayList<ChallengeState>();
        var refused = assertThrows(CofactorException.class, () -> {
            try (var states = cofactor.watch("token", "code")) {
                states.forEach(heard::add);
            }
        });

        assertEquals("MFA_TOKEN_STALE", refused.reason());
        assertEquals(List.of(CHALLENGE_STATE_PENDING), heard);
    }

    @Test
    void whoeverCancelsAWatchLeavesTheServer() throws InterruptedException {
        server.watches.add(tells(CHALLENGE_STATE_PENDING));
        var pending = new CountDownLatch(1);
        var watching = cofactor.watchAsync("token", "code", state -> pending.countDown());
        assertTrue(pending.await(30, TimeUnit.SECONDS));

        watching.cancel(true);

        assertTrue(server.left.await(30, TimeUnit.SECONDS));
    }

    @Test
    void whoeverClosesTheConnectionWaitsForNothing() throws InterruptedException {
        server.watches.add(tells(CHALLENGE_STATE_PENDING));
        var pending = new CountDownLatch(1);
        var watching = cofactor.watchAsync("token", "code", state -> pending.countDown());
        assertTrue(pending.await(30, TimeUnit.SECONDS));

        cofactor.close();

        var ended = assertThrows(ExecutionException.class, () -> watching.get(30, TimeUnit.SECONDS));
        assertEquals(Status.Code.CANCELLED, CofactorException.of(ended).code());
    }

    @Test
    void anApprovalIsRedeemedOnce() {
        server.watches.add(tells(CHALLENGE_STATE_PENDING, CHALLENGE_STATE_APPROVED));
        server.tokens.add(answers(issued()));

        assertInstanceOf(Outcome.Tokens.class, cofactor.awaitTokens("token", "code"));
        assertEquals(1, server.asked.size());
        assertEquals("code", server.asked.get(0).getMfaOob().getOobCode());
    }

    @Test
    void aDenialIsAnErrorOfTheServersOwn() {
        server.watches.add(tells(CHALLENGE_STATE_DENIED));
        server.tokens.add(refuses(refusal(Status.Code.PERMISSION_DENIED, "CHALLENGE_DENIED")));
        var denied = assertThrows(CofactorException.class, () -> cofactor.awaitTokens("token", "code"));

        assertEquals("CHALLENGE_DENIED", denied.reason());
    }

    @Test
    void whereThereIsNoStreamTokensArePolledForAtTheServersInterval() {
        var slower = com.google.protobuf.Duration.newBuilder().setNanos(300_000_000);
        var slowDown = RetryInfo.newBuilder().setRetryDelay(slower).build();
        server.tokens.add(answers(pending(200)));
        server.tokens.add(refuses(refusal(Status.Code.RESOURCE_EXHAUSTED, "SLOW_DOWN", slowDown)));
        server.tokens.add(answers(issued()));
        long begun = System.nanoTime();

        assertInstanceOf(Outcome.Tokens.class, cofactor.awaitTokens("token", "code"));
        assertTrue(System.nanoTime() - begun >= TimeUnit.MILLISECONDS.toNanos(500));
        assertEquals(3, server.asked.size());
    }

    @Test
    void aPollWithoutAnAnswerIsRepeatedByTheSameRequestId() {
        server.tokens.add(answers(pending(10)));
        for (int call = 0; call < 4; call++) {
            server.tokens.add(refuses(Status.UNAVAILABLE.asRuntimeException()));
        }
        server.tokens.add(answers(issued()));

        assertInstanceOf(Outcome.Tokens.class, cofactor.awaitTokens("token", "code"));
        var ids = server.asked.stream().map(IssueTokenRequest::getRequestId).toList();
        assertEquals(6, ids.size());
        assertEquals(2, ids.stream().distinct().count());
        assertEquals(ids.get(1), ids.get(5));
    }

    @Test
    void aCodeIsRedeemedWithoutAWatch() {
        server.tokens.add(answers(issued()));

        assertInstanceOf(Outcome.Tokens.class, cofactor.awaitTokens("token", "code", "123456"));
        assertEquals("123456", server.asked.get(0).getMfaOob().getBindingCode());
    }

    @Test
    void whoeverIsInterruptedWaitsNoLonger() {
        server.watches.add(tells(CHALLENGE_STATE_PENDING));
        Thread.currentThread().interrupt();
        var ended = assertThrows(CofactorException.class, () -> cofactor.awaitTokens("token", "code"));

        assertEquals(Status.Code.CANCELLED, ended.code());
        assertTrue(Thread.interrupted());
    }
}
