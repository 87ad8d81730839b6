package dev.cofactor.testing;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.time.temporal.ChronoUnit;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The names of one case of the vectors, and what they stand for just now. */
final class CaseNames {
    private static final Pattern PLACEHOLDER = Pattern.compile("\\$\\{(?:(\\w+):)?(\\w+)}");

    private final TestServer server;
    private final Map<String, String> kept = new HashMap<>();

    CaseNames(TestServer server) {
        this.server = server;
        var demo = server.demo();
        kept.put("client_id", demo.clientId());
        kept.put("client_secret", demo.clientSecret());
        kept.put("username", demo.username());
        kept.put("password", demo.password());
        kept.put("realm", demo.realm());
        kept.put("audience", demo.audience());
        kept.put("issuer", demo.issuer());
        kept.put("subject", UUID.randomUUID().toString().replace("-", ""));
        kept.put("phone", "+4420718%05d".formatted(ThreadLocalRandom.current().nextInt(100_000)));
    }

    void keep(String name, String text) {
        kept.put(name, text);
    }

    JsonElement filled(JsonElement element) {
        if (element.isJsonObject()) {
            var filled = new JsonObject();
            element.getAsJsonObject().asMap().forEach((name, value) -> filled.add(name, filled(value)));
            return filled;
        }
        if (element.isJsonArray()) {
            var filled = new JsonArray();
            element.getAsJsonArray().forEach(item -> filled.add(filled(item)));
            return filled;
        }
        if (element.isJsonPrimitive() && element.getAsJsonPrimitive().isString()) {
            var text = PLACEHOLDER.matcher(element.getAsString())
                    .replaceAll(found -> Matcher.quoteReplacement(value(found.group(1), found.group(2))));
            return new JsonPrimitive(text);
        }
        return element;
    }

    private String value(String how, String name) {
        if (how == null && name.equals("now")) {
            return server.clock().now().truncatedTo(ChronoUnit.SECONDS).toString();
        }
        var found = kept.get(name);
        if (found == null) {
            throw new IllegalArgumentException("no text is kept as " + name);
        }
        if (how == null) {
            return found;
        }
        return switch (how) {
            case "totp" -> server.app(found).shown();
            case "wrong" -> found.substring(0, found.length() - 1)
                    + (found.charAt(found.length() - 1) - '0' + 1) % 10;
            default -> throw new IllegalArgumentException(how);
        };
    }
}
