package dev.cofactor.examples;

import dev.cofactor.ClientCredentials;
import dev.cofactor.Cofactor;
import dev.cofactor.CofactorException;
import dev.cofactor.Transport;
import dev.cofactor.v1.IssueTokenRequest;
import dev.cofactor.v1.MfaOtpGrant;
import io.grpc.Status;
import java.io.File;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;

/** Measures the client against a server that answers at once: how soon the first answer is there, and how many follow. */
final class Bench {
    private static final IssueTokenRequest REQUEST = IssueTokenRequest.newBuilder()
            .setMfaOtp(MfaOtpGrant.newBuilder().setMfaToken("x".repeat(300)).setOtp("123456"))
            .build();

    private Bench() {}

    /** Takes the target, seconds, callers at once, and the file to write. */
    public static void main(String[] arguments) throws Exception {
        var seconds = Double.parseDouble(arguments[1]);
        int callers = Integer.parseInt(arguments[2]);
        var credentials = ClientCredentials.of("bench", "bench");
        try (var cofactor = Cofactor.connect(arguments[0], credentials, Transport.loopback())) {
            call(cofactor);
            var born = ProcessHandle.current().info().startInstant().orElseThrow();
            long firstCall = Duration.between(born, Instant.now()).toMillis();
            call(cofactor, callers, Math.min(seconds, 2)); // Until the JVM has compiled what it runs.
            long begun = System.nanoTime();
            long calls = call(cofactor, callers, seconds);
            double taken = (System.nanoTime() - begun) / 1e9;
            var measured = String.format(
                    Locale.ROOT,
                    "{\"language\": \"java\", \"calls\": %d, \"seconds\": %.3f, \"per_second\": %.1f, \"first_call_ms\": %d,"
                            + " \"size_kb\": %d, \"with_dependencies_kb\": %d}%n",
                    calls,
                    taken,
                    calls / taken,
                    firstCall,
                    kilobytes(own()),
                    kilobytes(System.getProperty("java.class.path").split(File.pathSeparator)));
            Files.writeString(Path.of(arguments[3]), measured);
        }
    }

    private static long call(Cofactor cofactor, int callers, double seconds)
            throws InterruptedException, ExecutionException {
        long until = System.nanoTime() + (long) (seconds * 1e9);
        var threads = Executors.newFixedThreadPool(callers);
        try {
            var counts = threads.invokeAll(IntStream.range(0, callers)
                    .mapToObj(caller -> (Callable<Long>) () -> call(cofactor, until))
                    .toList());
            long all = 0;
            for (Future<Long> count : counts) {
                all += count.get();
            }
            return all;
        } finally {
            threads.shutdown();
        }
    }

    private static long call(Cofactor cofactor, long until) {
        long calls = 0;
        while (System.nanoTime() < until) {
            call(cofactor);
            calls++;
        }
        return calls;
    }

    private static void call(Cofactor cofactor) {
        try {
            cofactor.issue(REQUEST);
        } catch (CofactorException refused) {
            // A refusal is an answer, too; a server that is not there is none.
            if (refused.code() == Status.Code.UNAVAILABLE || refused.code() == Status.Code.DEADLINE_EXCEEDED) {
                throw refused;
            }
        } catch (IllegalArgumentException empty) {
            // An empty response has no outcome.
        }
    }

    private static String own() throws URISyntaxException {
        return Path.of(Cofactor.class.getProtectionDomain().getCodeSource().getLocation().toURI()).toString();
    }

    private static long kilobytes(String... places) throws IOException {
        long octets = 0;
        for (var place : Arrays.stream(places).filter(each -> each.endsWith(".jar")).toList()) {
            octets += Files.size(Path.of(place));
        }
        return octets / 1024;
    }
}
