package cofactor_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cofactor-mfa/cofactor/clients/go/cofactor"
	cofactorv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
	"github.com/cofactor-mfa/cofactor/clients/go/cofactortest"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The functions below hold what README.md shows, line by line: so it compiles.

var block = regexp.MustCompile("(?s)<!-- code: (\\w+) -->\n```go\n(.*?)```")

func TestTheReadmesCodeCompiles(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	source, err := os.ReadFile("readme_test.go")
	must(t, err)
	blocks := block.FindAllStringSubmatch(string(readme), -1)
	if shown := strings.Count(string(readme), "```go"); len(blocks) == 0 || len(blocks) != shown {
		t.Fatalf("%d of %d blocks are named", len(blocks), shown)
	}
	for _, found := range blocks {
		_, body, known := strings.Cut(string(source), "func readme"+found[1]+"(")
		body, _, _ = strings.Cut(body, "\n}\n")
		if !known || !strings.Contains(flat(body), flat(found[2])) {
			t.Errorf("%s is not what readme%s does", found[1], found[1])
		}
	}
}

// flat is code without its indentation and empty lines.
func flat(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func readmeConnect(clientID, clientSecret string) (*cofactor.Client, error) {
	client, err := cofactor.Connect("mfa.example.com:443", cofactor.WithSecret(clientID, clientSecret))
	return client, err
}

func readmeLogin(ctx context.Context, client *cofactor.Client, welcome func(string) error,
	enroll, ask func(string, []cofactorv1.FactorKind) error) error {
	outcome, err := client.Issue(ctx, &cofactorv1.IssueTokenRequest{
		Grant: &cofactorv1.IssueTokenRequest_Vouched{Vouched: &cofactorv1.VouchedGrant{
			Realm: "employees", Subject: "4711", Methods: []string{"pwd"}, AuthenticateTime: timestamppb.Now(),
		}},
	})
	if err != nil {
		return err
	}
	switch outcome := outcome.(type) {
	case cofactor.Tokens:
		return welcome(outcome.GetAccessToken())
	case cofactor.MfaRequired:
		if kinds := outcome.GetEnroll().GetKinds(); len(kinds) > 0 {
			return enroll(outcome.GetMfaToken(), kinds)
		}
		return ask(outcome.GetMfaToken(), outcome.GetChallenge().GetKinds())
	}
	return nil
}

func readmeErrors(err error, again func(string) error) error {
	var refusal *cofactor.Error
	switch {
	case cofactor.Refused(err, cofactorv1.ErrorReason_ERROR_REASON_INVALID_OTP):
		return again("That code is wrong.")
	case errors.As(err, &refusal) && refusal.RetryDelay > 0:
		return again("Try again in " + refusal.RetryDelay.String())
	}
	return err
}

func readmeWait(ctx context.Context, client *cofactor.Client, mfaToken string, show func(string)) error {
	challenge, err := client.Challenges.CreateChallenge(ctx, &cofactorv1.CreateChallengeRequest{
		Kinds: []cofactorv1.FactorKind{cofactorv1.FactorKind_FACTOR_KIND_PUSH},
	}, cofactor.Bearer(mfaToken))
	if err != nil {
		return err
	}
	show(challenge.GetDevice().GetNumber()) // the user types it on the phone
	outcome, err := client.AwaitTokens(ctx, mfaToken, challenge.GetOobCode())
	_ = outcome
	return err
}

func readmeWatch(ctx context.Context, client *cofactor.Client, mfaToken, oobCode string, show func(string)) error {
	for change, err := range client.Watch(ctx, mfaToken, oobCode) {
		if err != nil {
			return err
		}
		show(change.GetState().String())
	}
	return nil
}

func readmeTesting(ctx context.Context, t *testing.T, enrolled *cofactorv1.EnrollAuthenticatorResponse) (error, string, time.Time) {
	server := cofactortest.ForTest(t)
	client, err := server.Client()

	app, err := server.App(enrolled.GetOtpSecret().GetBarcodeUri())
	code, err := app.Code(ctx)

	now, err := server.Advance(ctx, 10*time.Minute) // and the login is over
	_ = client
	return err, code, now
}

// Compiled is enough; to call each would be to test the server.
var _ = []any{readmeConnect, readmeLogin, readmeErrors, readmeWait, readmeWatch, readmeTesting}
