package dev.cofactor;

import dev.cofactor.v1.ErrorReason;
import dev.cofactor.v1.IssueTokenRequest;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** Asks for tokens at the server's interval until there are some, or a reason why there are none (RFC 8628 section 3.5). */
final class Polling {
    private static final Duration INTERVAL = Duration.ofSeconds(5); // RFC 8628 section 3.2
    private static final Duration LONGEST = Duration.ofMinutes(1);

    private final IssueTokenRequest grant;
    private final Function<IssueTokenRequest, CompletableFuture<Outcome>> issue;
    private final ScheduledExecutorService timer;
    private final CompletableFuture<Outcome> result = new CompletableFuture<>();
    private final Backoff patience = new Backoff(INTERVAL);
    private Duration interval = INTERVAL;
    private String requestId = UUID.randomUUID().toString();

    Polling(
            IssueTokenRequest grant,
            Function<IssueTokenRequest, CompletableFuture<Outcome>> issue,
            ScheduledExecutorService timer) {
        this.grant = grant;
        this.issue = issue;
        this.timer = timer;
    }

    CompletableFuture<Outcome> result() {
        return result;
    }

    void begin() {
        ask();
    }

    private void ask() {
        if (result.isDone()) {
            return;
        }
        var asked = issue.apply(grant.toBuilder().setRequestId(requestId).build());
        result.whenComplete((outcome, failure) -> asked.cancel(true));
        asked.whenComplete(this::hear);
    }

    private void hear(Outcome outcome, Throwable failure) {
        if (failure != null) {
            refused(CofactorException.of(failure));
        } else if (outcome instanceof Outcome.Pending pending) {
            answered();
            interval = pending.interval();
            later();
        } else {
            result.complete(outcome);
        }
    }

    private void refused(CofactorException refusal) {
        if (refusal.is(ErrorReason.ERROR_REASON_SLOW_DOWN)) {
            answered();
            interval = refusal.retryDelay().orElse(interval.plusSeconds(5));
            later();
            return;
        }
        var now = System.nanoTime();
        switch (refusal.code()) {
            case UNAVAILABLE, DEADLINE_EXCEEDED -> {
                patience.failed(now);
                if (patience.outOfPatience(now)) {
                    result.completeExceptionally(refusal);
                } else {
                    // By the same request id: it may have been redeemed, and only the answer lost.
                    interval = Durations.shorter(interval.multipliedBy(2), LONGEST);
                    later();
                }
            }
            default -> result.completeExceptionally(refusal);
        }
    }

    private void answered() {
        patience.succeeded();
        requestId = UUID.randomUUID().toString();
    }

    private void later() {
        try {
            timer.schedule(this::ask, interval.toNanos(), TimeUnit.NANOSECONDS);
        } catch (RejectedExecutionException closed) {
            result.completeExceptionally(CofactorException.cancelled("the connection was closed"));
        }
    }
}
