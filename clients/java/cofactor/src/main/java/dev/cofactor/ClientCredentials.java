package dev.cofactor;

import static java.util.Objects.requireNonNull;

import io.grpc.Metadata;

/** Who calls: a client's id, with its secret if it has one. Nothing of it prints the secret. */
public final class ClientCredentials {
    private static final Metadata.Key<String> ID =
            Metadata.Key.of("cofactor-client-id", Metadata.ASCII_STRING_MARSHALLER);
    private static final Metadata.Key<String> SECRET =
            Metadata.Key.of("cofactor-client-secret", Metadata.ASCII_STRING_MARSHALLER);
    private static final ClientCredentials NONE = new ClientCredentials("", "");

    private final String id;
    private final String secret;

    private ClientCredentials(String id, String secret) {
        this.id = id;
        this.secret = secret;
    }

    /**
     * Credentials of a client that has a secret.
     *
     * @param id such as {@code cli_8Rk2TqLmXw4YbN0a}
     * @param secret what the client was given for it
     * @return the credentials
     */
    public static ClientCredentials of(String id, String secret) {
        return new ClientCredentials(filled(id, "id"), filled(secret, "secret"));
    }

    /**
     * Credentials of a public client, or of one that the server knows by the certificate of {@link Transport#showing}.
     *
     * @param id such as {@code cli_8Rk2TqLmXw4YbN0a}
     * @return the credentials
     */
    public static ClientCredentials of(String id) {
        return new ClientCredentials(filled(id, "id"), "");
    }

    /**
     * No credentials, as of a device, which signs what it says, or of a call by a user's token alone.
     *
     * @return the credentials
     */
    public static ClientCredentials none() {
        return NONE;
    }

    Metadata metadata() {
        var metadata = new Metadata();
        if (!id.isEmpty()) {
            metadata.put(ID, id);
        }
        if (!secret.isEmpty()) {
            metadata.put(SECRET, secret);
        }
        return metadata;
    }

    /** Says which client it is, and not its secret. */
    @Override
    public String toString() {
        return "ClientCredentials[id=" + id + "]";
    }

    private static String filled(String value, String name) {
        // What can't stand in metadata would be sent changed, and refused without a word about the reason.
        if (requireNonNull(value, name).isEmpty() || !value.chars().allMatch(octet -> octet >= ' ' && octet <= '~')) {
            throw new IllegalArgumentException("a client's " + name + " is one or more printable ASCII characters");
        }
        return value;
    }
}
