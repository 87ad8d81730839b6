package example;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.springframework.security.oauth2.core.DelegatingOAuth2TokenValidator;
import org.springframework.security.oauth2.core.OAuth2TokenValidator;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtDecoders;
import org.springframework.security.oauth2.jwt.JwtException;
import org.springframework.security.oauth2.jwt.JwtIssuerValidator;
import org.springframework.security.oauth2.jwt.JwtTimestampValidator;
import org.springframework.security.oauth2.jwt.JwtTypeValidator;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;

/** Spring Security, version 7. Environment: ISSUER, AUDIENCE; argument: a profile; tokens come by line. */
public final class Decoders {
    // [auth0]
    /** For an API of the profile auth0: the decoder that Spring makes by default, with what it leaves to you. */
    static JwtDecoder auth0(String issuer, String audience) {
        NimbusJwtDecoder decoder = (NimbusJwtDecoder) JwtDecoders.fromIssuerLocation(issuer);
        decoder.setJwtValidator(JwtValidators.createDefaultWithValidators(List.of(
                new JwtIssuerValidator(issuer), claims(audience, "azp"))));
        return decoder;
    }
    // [/auth0]

    // [rfc9068]
    /** For an API of the default profile, RFC 9068: the type is at+jwt. */
    static JwtDecoder rfc9068(String issuer, String audience) {
        NimbusJwtDecoder decoder = NimbusJwtDecoder.withJwkSetUri(issuer + ".well-known/keys.json")
                .jwsAlgorithms(algorithms -> {
                    algorithms.add(SignatureAlgorithm.RS256);
                    algorithms.add(SignatureAlgorithm.ES256);
                })
                .validateType(false)
                .build();
        JwtTypeValidator type = new JwtTypeValidator("at+jwt");
        decoder.setJwtValidator(new DelegatingOAuth2TokenValidator<>(
                type, new JwtTimestampValidator(), new JwtIssuerValidator(issuer), claims(audience, "client_id")));
        return decoder;
    }

    /** Refuses tokens for others, id_tokens, tokens without the scope, and logins with one factor. */
    static OAuth2TokenValidator<Jwt> claims(String audience, String client) {
        Set<String> levels = Set.of("urn:cofactor:acr:mfa", "urn:cofactor:acr:phr", "urn:cofactor:acr:phrh");
        return new DelegatingOAuth2TokenValidator<>(
                new JwtClaimValidator<List<String>>("aud", found -> found != null && found.contains(audience)),
                new JwtClaimValidator<String>(client, Objects::nonNull),
                new JwtClaimValidator<String>("jti", Objects::nonNull),
                new JwtClaimValidator<String>("scope", found ->
                        found != null && Arrays.asList(found.split(" ")).contains("read:orders")),
                new JwtClaimValidator<String>("acr", levels::contains));
    }
    // [/rfc9068]

    public static void main(String[] arguments) throws Exception {
        String issuer = System.getenv("ISSUER");
        String audience = System.getenv("AUDIENCE");
        JwtDecoder decoder = arguments[0].equals("auth0") ? auth0(issuer, audience) : rfc9068(issuer, audience);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            try {
                System.out.println("ok " + decoder.decode(line.trim()).getSubject());
            } catch (JwtException refusal) {
                System.out.println("refused " + refusal.getMessage());
            }
        }
    }
}
