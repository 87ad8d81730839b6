package dev.cofactor.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import dev.cofactor.ClientCredentials;
import dev.cofactor.Cofactor;
import dev.cofactor.CofactorException;
import dev.cofactor.CofactorException.Violation;
import dev.cofactor.v1.AuthenticatorServiceGrpc;
import dev.cofactor.v1.ChallengeServiceGrpc;
import dev.cofactor.v1.TokenServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.ClientInterceptors;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.ServiceDescriptor;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** The cases that every client runs, as {@code clients/vectors.json} describes them. */
class VectorsTest {
    private static final Path FILE = Path.of("../../vectors.json");
    private static final Map<String, ServiceDescriptor> SERVICES = Map.of(
            "TokenService", TokenServiceGrpc.getServiceDescriptor(),
            "ChallengeService", ChallengeServiceGrpc.getServiceDescriptor(),
            "AuthenticatorService", AuthenticatorServiceGrpc.getServiceDescriptor());
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private static TestServer server;
    private static Map<String, Cofactor> clients;
    private static int cases;
    private static int passed;

    @BeforeAll
    static void open() {
        server = TestServer.open();
        clients = Map.of(
                "demo", server.connect(),
                "none", server.connect(ClientCredentials.none()),
                "unknown", server.connect(ClientCredentials.of("unknown", "unknown")));
    }

    @AfterAll
    static void close() throws IOException {
        clients.values().forEach(Cofactor::close);
        server.close();
        if (cases > 0 && passed == cases) {
            Row.shown("vectors");
        }
    }

    @TestFactory
    Stream<DynamicTest> theServerAnswersEveryCaseAsItSays() throws IOException {
        var vectors = JsonParser.parseString(Files.readString(FILE)).getAsJsonObject();
        assertEquals(1, vectors.get("version").getAsInt());
        var found = vectors.getAsJsonArray("cases").asList();
        cases = found.size();
        return found.stream().map(JsonElement::getAsJsonObject).map(each -> DynamicTest.dynamicTest(
                each.get("name").getAsString(), () -> run(each, vectors.getAsJsonObject("preludes"))));
    }

    private static void run(JsonObject found, JsonObject preludes) throws IOException {
        var names = new CaseNames(server);
        var steps = new ArrayList<JsonElement>();
        if (found.has("after")) {
            steps.addAll(preludes.getAsJsonArray(found.get("after").getAsString()).asList());
        }
        steps.addAll(found.getAsJsonArray("steps").asList());
        for (var step : steps) {
            take(names.filled(step).getAsJsonObject(), names);
        }
        passed++;
    }

    private static void take(JsonObject step, CaseNames names) throws IOException {
        if (step.has("set")) {
            step.getAsJsonObject("set").asMap().forEach((name, text) -> names.keep(name, text.getAsString()));
        } else if (step.has("advance")) {
            server.clock().advance(Duration.ofSeconds(step.get("advance").getAsLong()));
        } else if (step.has("outbox")) {
            var messages = server.outbox().messages(step.getAsJsonObject("outbox").get("to").getAsString());
            names.keep("code", messages.get(messages.size() - 1).getCode());
        } else if (step.has("refused")) {
            refused(step, step.getAsJsonObject("refused"));
        } else {
            var response = JsonParser.parseString(
                    JsonFormat.printer().omittingInsignificantWhitespace().print(called(step)));
            fits(step.get("expect"), response, step.get("rpc").getAsString());
            if (step.has("save")) {
                step.getAsJsonObject("save")
                        .asMap()
                        .forEach((name, path) -> names.keep(name, at(response, path.getAsString()).getAsString()));
            }
        }
    }

    private static void refused(JsonObject step, JsonObject expected) {
        var refusal = assertThrows(CofactorException.class, () -> called(step));
        assertEquals(expected.get("code").getAsString(), refusal.code().name(), refusal.toString());
        assertEquals(expected.get("reason").getAsString(), refusal.reason(), refusal.toString());
        if (expected.has("message")) {
            assertEquals(expected.get("message").getAsString(), refusal.getMessage());
        }
        assertEquals(
                expected.has("retry_delay") && expected.get("retry_delay").getAsBoolean(),
                refusal.retryDelay().filter(delay -> delay.compareTo(Duration.ZERO) > 0).isPresent());
        var fields = expected.has("fields")
                ? expected.getAsJsonArray("fields").asList().stream().map(JsonElement::getAsString).toList()
                : List.of();
        assertEquals(fields, refusal.violations().stream().map(Violation::field).toList());
    }

    private static Message called(JsonObject step) throws IOException {
        var rpc = step.get("rpc").getAsString().split("/");
        var service = SERVICES.get(rpc[0]);
        var full = MethodDescriptor.generateFullMethodName(service.getName(), rpc[1]);
        return call(step, service.getMethods().stream()
                .filter(method -> method.getFullMethodName().equals(full))
                .findFirst()
                .orElseThrow());
    }

    @SuppressWarnings("unchecked")
    private static Message call(JsonObject step, MethodDescriptor<?, ?> found) throws IOException {
        var method = (MethodDescriptor<Message, Message>) found;
        var prototype = ((PrototypeMarshaller<Message>) method.getRequestMarshaller()).getMessagePrototype();
        var request = prototype.newBuilderForType();
        if (step.has("request")) {
            JsonFormat.parser().merge(step.get("request").toString(), request);
        }
        var channel = clients.get(step.has("client") ? step.get("client").getAsString() : "demo").channel();
        if (step.has("bearer")) {
            var metadata = new Metadata();
            metadata.put(AUTHORIZATION, "Bearer " + step.get("bearer").getAsString());
            channel = ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(metadata));
        }
        try {
            return ClientCalls.blockingUnaryCall(channel, method, CallOptions.DEFAULT, request.build());
        } catch (io.grpc.StatusRuntimeException failure) {
            throw CofactorException.of(failure);
        }
    }

    private static void fits(JsonElement expected, JsonElement actual, String where) {
        if (expected.isJsonNull()) {
            assertEquals(null, actual, where);
            return;
        }
        assertNotNull(actual, where);
        if (expected.isJsonObject()) {
            var members = actual.getAsJsonObject();
            expected.getAsJsonObject().asMap().forEach((name, value) -> fits(value, members.get(name), where + "." + name));
        } else if (expected.isJsonArray()) {
            var items = actual.getAsJsonArray();
            assertEquals(expected.getAsJsonArray().size(), items.size(), where);
            for (int index = 0; index < items.size(); index++) {
                fits(expected.getAsJsonArray().get(index), items.get(index), where + "." + index);
            }
        } else if (expected.getAsJsonPrimitive().isString() && expected.getAsString().equals("*")) {
            assertFalse(List.of("\"\"", "[]", "{}").contains(actual.toString()), where);
        } else {
            assertEquals(expected, actual, where);
        }
    }

    private static JsonElement at(JsonElement response, String path) {
        var found = response;
        for (var step : path.split("\\.")) {
            found = found.isJsonArray() ? found.getAsJsonArray().get(Integer.parseInt(step)) : found.getAsJsonObject().get(step);
        }
        return found;
    }
}
