package dev.cofactor;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import org.junit.jupiter.api.Test;

class BackoffTest {
    @Test
    void waitsDoubleUpToTenSecondsAndBeginAnewAfterASuccess() {
        var backoff = new Backoff(Duration.ofMillis(500));
        for (double due = 0.5; due < 100; due *= 2) {
            between(backoff.failed(0), Math.min(due, 10));
        }
        backoff.succeeded();

        between(backoff.failed(0), 0.5);
    }

    @Test
    void patienceEndsAfterTenMinutesOfFailuresInARow() {
        var backoff = new Backoff(Duration.ofMillis(500));
        var tenMinutes = Duration.ofMinutes(10).toNanos();
        backoff.failed(0);

        assertFalse(backoff.outOfPatience(tenMinutes));
        assertTrue(backoff.outOfPatience(tenMinutes + 1));
        backoff.succeeded();
        assertFalse(backoff.outOfPatience(tenMinutes + 1));
    }

    private static void between(Duration wait, double due) {
        double seconds = wait.toNanos() / 1e9;
        assertTrue(seconds >= due / 2 && seconds <= due, seconds + " of " + due);
    }
}
