package dev.cofactor.testing;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.nio.file.Path;

/**
 * What a demo says of itself.
 *
 * @param http the address of the REST edge, such as {@code http://127.0.0.1:8080}
 * @param grpc the address of the gRPC edge, such as {@code 127.0.0.1:50051}
 * @param issuer the issuer of tokens
 * @param clientId a client that may vouch for users, create and enroll them
 * @param clientSecret its secret
 * @param username a user's
 * @param password the same user's
 * @param realm where users are
 * @param audience what tokens are for
 * @param grpcTls the address of the gRPC edge that wants a certificate of the client
 * @param caFile whom to trust there
 * @param certificateFile a client's certificate
 * @param keyFile its key
 * @param tlsClientId the client that the certificate is of
 */
public record Demo(
        String http,
        String grpc,
        String issuer,
        String clientId,
        String clientSecret,
        String username,
        String password,
        String realm,
        String audience,
        String grpcTls,
        Path caFile,
        Path certificateFile,
        Path keyFile,
        String tlsClientId) {

    /** Says where, and no secret. */
    @Override
    public String toString() {
        return "Demo[http=" + http + ", grpc=" + grpc + "]";
    }

    static Demo of(String json) {
        JsonObject said = JsonParser.parseString(json).getAsJsonObject();
        JsonObject test = said.getAsJsonObject("test");
        if (test == null) {
            throw new IllegalStateException("this demo is not in test mode: start it by `cofactor demo --test`");
        }
        return new Demo(
                said.get("http").getAsString(),
                said.get("grpc").getAsString(),
                said.get("issuer").getAsString(),
                said.get("client_id").getAsString(),
                said.get("client_secret").getAsString(),
                said.get("username").getAsString(),
                said.get("password").getAsString(),
                said.get("realm").getAsString(),
                said.get("audience").getAsString(),
                test.get("grpc_tls").getAsString(),
                Path.of(test.get("ca_file").getAsString()),
                Path.of(test.get("certificate_file").getAsString()),
                Path.of(test.get("key_file").getAsString()),
                test.get("tls_client_id").getAsString());
    }
}
