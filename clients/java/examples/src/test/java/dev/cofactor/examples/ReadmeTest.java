package dev.cofactor.examples;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class ReadmeTest {
    private static final Pattern BLOCK = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);

    @Test
    void whatTheReadmeShowsIsCompiled() throws IOException {
        String compiled;
        try (var files = Files.walk(Path.of("src"))) {
            compiled = files.filter(Files::isRegularFile).map(ReadmeTest::read).collect(Collectors.joining("\n"));
        }
        var blocks = BLOCK.matcher(Files.readString(Path.of("../README.md"))).results().toList();

        assertFalse(blocks.isEmpty());
        for (var block : blocks) {
            assertTrue(compiled.contains(trimmed(block.group(1))), block.group(1));
        }
    }

    private static String read(Path file) {
        try {
            return trimmed(Files.readString(file));
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        }
    }

    private static String trimmed(String text) {
        return text.lines().map(String::strip).filter(line -> !line.isEmpty()).collect(Collectors.joining("\n"));
    }
}
