package dev.cofactor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.cofactor.v1.ChallengeRequirement;
import dev.cofactor.v1.MfaRequired;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SecretsTest {
    @Test
    void credentialsPrintNoSecret() {
        assertEquals("ClientCredentials[id=cli_1]", ClientCredentials.of("cli_1", "s3cret").toString());
    }

    @Test
    void outcomesPrintNoToken() {
        var required = MfaRequired.newBuilder()
                .setMfaToken("secret-token")
                .setRecoveryCode("secret-code")
                .setChallenge(ChallengeRequirement.getDefaultInstance());

        assertEquals("Tokens[scope=openid]", Outcome.of(FakeServer.issued()).toString());
        assertEquals("MfaRequired[CHALLENGE]", new Outcome.MfaRequired(required.build()).toString());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "se\ncret", "s\u00e9cret"})
    void aSecretThatCanNotBeSentIsNotInTheError(String secret) {
        var refused = assertThrows(IllegalArgumentException.class, () -> ClientCredentials.of("cli_1", secret));

        assertFalse(!secret.isEmpty() && refused.getMessage().contains(secret));
    }
}
