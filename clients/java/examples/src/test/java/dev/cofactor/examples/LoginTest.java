package dev.cofactor.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class LoginTest {
    @Test
    @Timeout(120)
    void theExampleEndsEveryLoginInTokens() {
        var written = new ByteArrayOutputStream();
        var before = System.out;
        System.setOut(new PrintStream(written, true, StandardCharsets.UTF_8));
        try {
            Login.main(new String[0]);
        } finally {
            System.setOut(before);
        }

        var lines = written.toString(StandardCharsets.UTF_8).lines().map(line -> line.replaceFirst("\\[.*", "")).toList();
        assertEquals(List.of("enrolled: Tokens", "verified: Tokens", "paired: Tokens", "approved: Tokens"), lines);
    }
}
