package dev.cofactor;

import dev.cofactor.v1.ChallengeServiceGrpc.ChallengeServiceStub;
import dev.cofactor.v1.ChallengeState;
import dev.cofactor.v1.WatchChallengeRequest;
import dev.cofactor.v1.WatchChallengeResponse;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/** One watch over as many streams as it takes. There is one stream at a time, and so one thread at a time. */
final class Watching {
    private static final Duration FIRST_WAIT = Duration.ofMillis(500);

    private final ChallengeServiceStub stub;
    private final WatchChallengeRequest request;
    private final Consumer<? super ChallengeState> heard;
    private final ScheduledExecutorService timer;
    private final Runnable reconnect;
    private final CompletableFuture<ChallengeState> last = new CompletableFuture<>();
    private final Backoff backoff = new Backoff(FIRST_WAIT);
    private ChallengeState told;
    private volatile ClientCallStreamObserver<WatchChallengeRequest> stream;

    Watching(
            ChallengeServiceStub stub,
            String oobCode,
            Consumer<? super ChallengeState> heard,
            ScheduledExecutorService timer,
            Runnable reconnect) {
        this.stub = stub;
        this.request = WatchChallengeRequest.newBuilder().setOobCode(oobCode).build();
        this.heard = heard;
        this.timer = timer;
        this.reconnect = reconnect;
    }

    CompletableFuture<ChallengeState> begin() {
        last.whenComplete((state, failure) -> leave());
        open();
        return last;
    }

    static boolean isLast(ChallengeState state) {
        return switch (state) {
            case CHALLENGE_STATE_APPROVED, CHALLENGE_STATE_DENIED, CHALLENGE_STATE_EXPIRED, CHALLENGE_STATE_REDEEMED -> true;
            default -> false;
        };
    }

    private void open() {
        if (!last.isDone()) {
            reconnect.run();
            stub.watchChallenge(request, new Ear());
            if (last.isDone()) {
                leave(); // It ended before there was a stream to leave.
            }
        }
    }

    private void leave() {
        var open = stream;
        if (open != null) {
            open.cancel("watched to the end", null);
        }
    }

    private void hear(ChallengeState state) {
        backoff.succeeded();
        try {
            if (state != told && !last.isDone()) {
                told = state;
                heard.accept(state);
            }
        } catch (RuntimeException | Error failure) {
            last.completeExceptionally(failure); // The listener's own, and its caller's to see.
            return;
        }
        if (isLast(state)) {
            last.complete(state);
        }
    }

    private void resume(CofactorException lost) {
        var now = System.nanoTime();
        var wait = Durations.longer(backoff.failed(now), lost.retryDelay().orElse(Duration.ZERO));
        if (lost.code() != Status.Code.UNAVAILABLE || backoff.outOfPatience(now)) {
            last.completeExceptionally(lost);
            return;
        }
        try {
            timer.schedule(this::open, wait.toNanos(), TimeUnit.NANOSECONDS);
        } catch (RejectedExecutionException closed) {
            last.completeExceptionally(CofactorException.cancelled("the connection was closed"));
        }
    }

    private final class Ear implements ClientResponseObserver<WatchChallengeRequest, WatchChallengeResponse> {
        @Override
        public void beforeStart(ClientCallStreamObserver<WatchChallengeRequest> opened) {
            stream = opened;
        }

        @Override
        public void onNext(WatchChallengeResponse response) {
            hear(response.getState());
        }

        @Override
        public void onError(Throwable failure) {
            if (!last.isDone()) {
                resume(CofactorException.of(failure));
            }
        }

        @Override
        public void onCompleted() {
            if (!last.isDone()) {
                // Before the last state a stream ends only when a proxy or a server that stops ends it.
                resume(CofactorException.of(
                        Status.UNAVAILABLE.withDescription("the stream ended early").asRuntimeException()));
            }
        }
    }
}
