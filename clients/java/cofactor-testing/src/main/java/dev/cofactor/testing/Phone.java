package dev.cofactor.testing;

import java.time.Duration;

/** Where codes arrive: a telephone that is read or listened to, or a mailbox. */
public final class Phone {
    private static final Duration PATIENCE = Duration.ofSeconds(10);
    private static final Duration PAUSE = Duration.ofMillis(20);

    private final Outbox outbox;
    private final String address;
    private long read;

    Phone(Outbox outbox, String address) {
        this.outbox = outbox;
        this.address = address;
        this.read = codes().size();
    }

    /**
     * Reads the newest code that arrived since the last one was read, or waits for it. Make the phone before the code is
     * asked for.
     *
     * @return digits
     * @throws IllegalStateException if none arrives within ten seconds
     */
    public String code() {
        long until = System.nanoTime() + PATIENCE.toNanos();
        do {
            var codes = codes();
            if (codes.size() > read) {
                read = codes.size();
                return codes.get(codes.size() - 1);
            }
            pause();
        } while (System.nanoTime() < until);
        throw new IllegalStateException("no code arrived at " + address);
    }

    private java.util.List<String> codes() {
        return outbox.messages(address).stream()
                .map(message -> message.getCode())
                .filter(code -> !code.isEmpty())
                .toList();
    }

    private static void pause() {
        try {
            Thread.sleep(PAUSE.toMillis());
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while waiting for a code", interrupted);
        }
    }
}
