package dev.cofactor;

import com.google.common.util.concurrent.ListenableFuture;
import io.grpc.stub.AbstractBlockingStub;
import io.grpc.stub.AbstractFutureStub;
import io.grpc.stub.AbstractStub;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/**
 * The generated stubs of one service, on one authority. A call is a function of a stub:
 * {@code challenges.call(stub -> stub.createChallenge(request))}.
 *
 * @param <B> the blocking stub
 * @param <F> the stub that returns futures
 */
public final class Calls<B extends AbstractBlockingStub<B>, F extends AbstractFutureStub<F>> {
    private final B blocking;
    private final F future;
    private final Duration within;

    Calls(B blocking, F future, Duration within) {
        this.blocking = blocking;
        this.future = future;
        this.within = within;
    }

    /**
     * Gives calls another deadline than the ten seconds they have.
     *
     * @param deadline how long each may take, retries included
     * @return other calls
     */
    public Calls<B, F> within(Duration deadline) {
        return new Calls<>(blocking, future, deadline);
    }

    /**
     * Calls, and waits for the answer.
     *
     * @param rpc calls the blocking stub, once
     * @param <R> the response
     * @return the response
     * @throws CofactorException if it is refused or fails
     */
    public <R> R call(Function<? super B, ? extends R> rpc) {
        try {
            return rpc.apply(timed(blocking));
        } catch (io.grpc.StatusRuntimeException failure) {
            throw CofactorException.of(failure);
        }
    }

    /**
     * Calls.
     *
     * @param rpc calls the stub, once
     * @param <R> the response
     * @return the response, or a {@link CofactorException} if it is refused or fails; cancelling it cancels the call
     */
    public <R> CompletableFuture<R> callAsync(Function<? super F, ? extends ListenableFuture<R>> rpc) {
        var result = new CompletableFuture<R>();
        ListenableFuture<R> called = rpc.apply(timed(future));
        called.addListener(() -> complete(result, called), Runnable::run);
        result.whenComplete((response, failure) -> called.cancel(true)); // Does nothing to what is done.
        return result;
    }

    private <S extends AbstractStub<S>> S timed(S stub) {
        return within == null ? stub : stub.withDeadlineAfter(within.toNanos(), TimeUnit.NANOSECONDS);
    }

    private static <R> void complete(CompletableFuture<R> result, ListenableFuture<R> called) {
        try {
            result.complete(called.get());
        } catch (ExecutionException failed) {
            result.completeExceptionally(CofactorException.of(failed.getCause()));
        } catch (InterruptedException | RuntimeException cancelled) {
            result.completeExceptionally(CofactorException.cancelled("the call was cancelled"));
        }
    }
}
