package dev.cofactor;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** How long to wait after each failure in a row: twice as long each time, and never quite the same for two clients. */
final class Backoff {
    /** After this long without an answer nothing that is waited for can still be there: logins last ten minutes. */
    static final Duration PATIENCE = Duration.ofMinutes(10);

    static final Duration LONGEST = Duration.ofSeconds(10);

    private final Duration first;
    private Duration next;
    private long failingSince;
    private boolean failing;

    Backoff(Duration first) {
        this.first = first;
        this.next = first;
    }

    void succeeded() {
        failing = false;
        next = first;
    }

    /** Notes a failure and returns the wait: between half and all of what is due, so that clients do not come back at once. */
    Duration failed(long now) {
        if (!failing) {
            failing = true;
            failingSince = now;
        }
        var due = next;
        next = Durations.shorter(due.multipliedBy(2), LONGEST);
        return Duration.ofNanos((long) (due.toNanos() * (0.5 + ThreadLocalRandom.current().nextDouble() / 2)));
    }

    boolean outOfPatience(long now) {
        return failing && now - failingSince > PATIENCE.toNanos();
    }
}
