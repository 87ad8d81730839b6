// Two users whose password an application has checked show a second factor: a code of an app, and an approval on a
// phone. The server, the app and the phone are the test kit's.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"

	"github.com/cofactor-mfa/cofactor/clients/go/cofactor"
	pb "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
	"github.com/cofactor-mfa/cofactor/clients/go/cofactortest"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func main() {
	ctx := context.Background()
	server := must(cofactortest.JoinOrStart(ctx))
	defer server.Stop()
	client := must(server.Client()) // elsewhere: cofactor.Connect("mfa.example.com:443", cofactor.WithSecret(id, secret))
	defer client.Close()
	vouch := func(user string) string {
		outcome := must(client.Issue(ctx, &pb.IssueTokenRequest{Grant: &pb.IssueTokenRequest_Vouched{Vouched: &pb.VouchedGrant{
			Realm: server.Demo.Realm, Subject: user, Methods: []string{"pwd"}, AuthenticateTime: timestamppb.New(must(server.Now(ctx)))}}}))
		return outcome.(cofactor.MfaRequired).GetMfaToken()
	}

	ada, mfaToken := rand.Text(), ""
	mfaToken = vouch(ada)
	enrolled := must(client.Authenticators.EnrollAuthenticator(ctx, &pb.EnrollAuthenticatorRequest{
		Authenticator: &pb.EnrollAuthenticatorRequest_Totp{Totp: &pb.TotpEnrollment{}}}, cofactor.Bearer(mfaToken)))
	app := must(server.App(enrolled.GetOtpSecret().GetBarcodeUri()))
	for _, doing := range []string{"confirmed an app", "logged in by code"} {
		otp := &pb.MfaOtpGrant{MfaToken: mfaToken, Otp: must(app.Code(ctx))}
		fmt.Println(doing, must(client.Issue(ctx, &pb.IssueTokenRequest{Grant: &pb.IssueTokenRequest_MfaOtp{MfaOtp: otp}})))
		mfaToken = vouch(ada)
	}

	bob := rand.Text()
	mfaToken = vouch(bob)
	paired := must(client.Authenticators.EnrollAuthenticator(ctx, &pb.EnrollAuthenticatorRequest{
		Authenticator: &pb.EnrollAuthenticatorRequest_Push{Push: &pb.PushEnrollment{}}}, cofactor.Bearer(mfaToken))).GetPairing()
	phone := must(server.PushDevice(ctx, paired.GetBarcodeUri()))
	fmt.Println("paired a phone", must(client.AwaitTokens(ctx, mfaToken, paired.GetOobCode())))
	mfaToken = vouch(bob)
	challenge := must(client.Challenges.CreateChallenge(ctx, &pb.CreateChallengeRequest{}, cofactor.Bearer(mfaToken)))
	go func() { // on the phone: the user types the number that the login page shows
		must(0, phone.Approve(ctx, must(phone.Prompt(ctx)), challenge.GetDevice().GetNumber()))
	}()
	fmt.Println("logged in by phone", must(client.AwaitTokens(ctx, mfaToken, challenge.GetOobCode())))
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Panic(err)
	}
	return value
}
