package dev.cofactor.testing;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The command `cofactor demo --test`, with a folder that goes when it goes. */
final class ServerProcess {
    private static final long START_SECONDS = 120;
    private static final long STOP_SECONDS = 30;

    private final Path folder;
    private Process process;

    ServerProcess() throws IOException {
        folder = Files.createTempDirectory("cofactor-test-");
        // A test that is broken off leaves no server behind.
        Runtime.getRuntime().addShutdownHook(new Thread(this::stop));
    }

    /** Starts the command and returns what it says of itself, once it answers calls. A port of 0 chooses one. */
    String start(int httpPort, int grpcPort) throws IOException {
        var command = new ArrayList<String>();
        command.addAll(List.of(System.getenv().getOrDefault("COFACTOR_COMMAND", "cofactor").trim().split(" +")));
        command.addAll(List.of("demo", "--test", "--state-dir", folder.resolve("state").toString()));
        command.addAll(List.of("--http-port", Integer.toString(httpPort), "--grpc-port", Integer.toString(grpcPort)));
        var log = folder.resolve("server.log");
        process = new ProcessBuilder(command).redirectError(log.toFile()).start();
        process.getOutputStream().close();
        var first = CompletableFuture.supplyAsync(() -> line(process.inputReader(StandardCharsets.UTF_8)));
        try {
            var line = first.get(START_SECONDS, TimeUnit.SECONDS);
            if (line != null) {
                return line;
            }
        } catch (TimeoutException | ExecutionException tooLate) {
            // Told below, with what the server said itself.
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        stop();
        throw new IllegalStateException("the server did not start: " + Files.readString(log));
    }

    void stop() {
        if (process == null) {
            return;
        }
        process.destroy(); // SIGTERM
        try {
            if (!process.waitFor(STOP_SECONDS, TimeUnit.SECONDS)) {
                process.destroyForcibly().waitFor();
            }
        } catch (InterruptedException interrupted) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }

    void remove() throws IOException {
        try (var files = Files.walk(folder)) {
            for (var file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }

    private static String line(BufferedReader output) {
        try {
            return output.readLine();
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        }
    }
}
