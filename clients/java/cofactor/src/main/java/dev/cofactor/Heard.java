package dev.cofactor;

import dev.cofactor.v1.ChallengeState;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.BlockingQueue;
import java.util.function.Consumer;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/** What was heard, as a stream that is waited for: states, then {@link #END} or why there is none. */
final class Heard extends Spliterators.AbstractSpliterator<ChallengeState> {
    static final Object END = new Object();

    private final BlockingQueue<Object> heard;

    private Heard(BlockingQueue<Object> heard) {
        super(Long.MAX_VALUE, Spliterator.ORDERED | Spliterator.NONNULL);
        this.heard = heard;
    }

    static Stream<ChallengeState> states(BlockingQueue<Object> heard) {
        return StreamSupport.stream(new Heard(heard), false);
    }

    @Override
    public boolean tryAdvance(Consumer<? super ChallengeState> action) {
        Object next;
        try {
            next = heard.take();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw CofactorException.cancelled("the thread was interrupted");
        }
        if (next instanceof ChallengeState state) {
            action.accept(state);
            return true;
        }
        heard.add(next); // For whoever asks again.
        if (next instanceof Throwable failure) {
            throw CofactorException.of(failure);
        }
        return false;
    }
}
