package dev.cofactor;

import dev.cofactor.v1.AnswerPending;
import dev.cofactor.v1.IssueTokenResponse;
import java.time.Duration;

/** What became of a grant: one of three. The generated messages within hold secrets, and are not printed. */
public sealed interface Outcome {
    /**
     * The login is complete.
     *
     * @param message the tokens
     */
    record Tokens(dev.cofactor.v1.Tokens message) implements Outcome {
        @Override
        public String toString() {
            return "Tokens[scope=" + message.getScope() + "]";
        }
    }

    /**
     * Another factor is needed: go on with {@code message().getMfaToken()}.
     *
     * @param message what can be challenged or enrolled
     */
    record MfaRequired(dev.cofactor.v1.MfaRequired message) implements Outcome {
        @Override
        public String toString() {
            return "MfaRequired[" + message.getRequirementCase() + "]";
        }
    }

    /**
     * The challenge is not answered yet.
     *
     * @param message the least time until the next poll
     */
    record Pending(AnswerPending message) implements Outcome {
        /**
         * The least time until the next poll.
         *
         * @return as the server said, which may be longer than it said before
         */
        public Duration interval() {
            return Durations.of(message.getPollInterval());
        }
    }

    /**
     * Reads a response.
     *
     * @param response of {@code IssueToken}
     * @return the outcome
     * @throws IllegalArgumentException for an outcome that this version does not know
     */
    static Outcome of(IssueTokenResponse response) {
        return switch (response.getOutcomeCase()) {
            case TOKENS -> new Tokens(response.getTokens());
            case MFA_REQUIRED -> new MfaRequired(response.getMfaRequired());
            case ANSWER_PENDING -> new Pending(response.getAnswerPending());
            case OUTCOME_NOT_SET -> throw new IllegalArgumentException("an outcome that this version does not know");
        };
    }
}
