// Package cofactor connects to Cofactor, a self-hosted service for the second factor of a login.
//
// Requests and answers are the generated messages of package cofactorv1 (cofactor/v1). What this package adds: a
// connection that is TLS unless told otherwise, credentials, a deadline for every call, repeating what may be repeated,
// outcomes and errors as types, and waiting for the answer to a challenge.
package cofactor

import (
	"fmt"
	"time"

	cofactorv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// DefaultDeadline bounds each unary call whose context has no deadline of its own.
const DefaultDeadline = 10 * time.Second

// Client is a connection, with what is called over it. Its methods may be used by any number of goroutines.
type Client struct {
	// Tokens exchanges grants for tokens; [Client.Issue] is the same with an outcome to switch over.
	Tokens cofactorv1.TokenServiceClient
	// Challenges creates and answers challenges; the mfa_token goes along as [Bearer].
	Challenges cofactorv1.ChallengeServiceClient
	// Authenticators enrolls, lists and removes; the token goes along as [Bearer].
	Authenticators cofactorv1.AuthenticatorServiceClient

	connection *grpc.ClientConn
}

// settings is what options change.
type settings struct {
	security    security
	credentials credentials
	deadline    time.Duration
	dial        []grpc.DialOption
}

// Option changes how [Connect] connects.
type Option func(*settings)

// WithSecret authenticates as a confidential client.
func WithSecret(clientID, clientSecret string) Option {
	return func(s *settings) {
		s.credentials = func() map[string]string {
			return map[string]string{"cofactor-client-id": clientID, "cofactor-client-secret": clientSecret}
		}
	}
}

// WithClientID names a public client, which has no secret, or the client that [WithCertificate] authenticates.
func WithClientID(clientID string) Option {
	return func(s *settings) {
		s.credentials = func() map[string]string { return map[string]string{"cofactor-client-id": clientID} }
	}
}

// WithoutCredentials sends none, whatever an option before it said.
func WithoutCredentials() Option {
	return func(s *settings) { s.credentials = nil }
}

// WithAuthorities trusts the certificate authorities of a PEM file, instead of the system's.
func WithAuthorities(file string) Option {
	return func(s *settings) { s.security.authorities = file }
}

// WithCertificate presents a certificate (mutual TLS), from PEM files that are read again for each new connection, so
// that they can be renewed in place.
func WithCertificate(certificateFile, keyFile string) Option {
	return func(s *settings) { s.security.certificate, s.security.key = certificateFile, keyFile }
}

// WithPlaintext connects without TLS, to a loopback address or a unix socket; [Connect] refuses every other.
func WithPlaintext() Option {
	return func(s *settings) { s.security.plaintext = true }
}

// AllowPlaintext connects without TLS to any address. Whoever is on the way reads every token and secret: only for a
// network that encrypts by itself, such as a service mesh.
func AllowPlaintext() Option {
	return func(s *settings) { s.security.plaintext, s.security.anywhere = true, true }
}

// WithDeadline sets the deadline of unary calls whose context has none, instead of [DefaultDeadline].
func WithDeadline(after time.Duration) Option {
	return func(s *settings) { s.deadline = after }
}

// WithDialOptions hands options to gRPC, such as interceptors that trace.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, options...) }
}

// Connect prepares a client of the server at target, such as "mfa.example.com:443" (the name syntax of gRPC). It opens
// no connection yet: the first call does.
//
// It fails where a file can't be read, a credential can't be sent, or plaintext would leave this machine.
func Connect(target string, options ...Option) (*Client, error) {
	chosen := settings{deadline: DefaultDeadline}
	for _, option := range options {
		option(&chosen)
	}
	transport, err := chosen.security.transport(target)
	if err != nil {
		return nil, err
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDisableServiceConfig(), // ours, whatever a name server says
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnecting, MinConnectTimeout: 5 * time.Second}),
		grpc.WithChainUnaryInterceptor(refusing, deadline(chosen.deadline), identifying),
	}
	if chosen.credentials != nil {
		if _, err := chosen.credentials.GetRequestMetadata(nil); err != nil { //nolint:staticcheck // it reads no context
			return nil, err
		}
		dial = append(dial, grpc.WithPerRPCCredentials(chosen.credentials))
	}
	connection, err := grpc.NewClient(target, append(dial, chosen.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("cofactor: %w", err)
	}
	return &Client{
		Tokens:         cofactorv1.NewTokenServiceClient(connection),
		Challenges:     cofactorv1.NewChallengeServiceClient(connection),
		Authenticators: cofactorv1.NewAuthenticatorServiceClient(connection),
		connection:     connection,
	}, nil
}

// reconnecting is how long gRPC waits between attempts to connect. Its own default goes up to two minutes, for which a
// login does not wait.
var reconnecting = backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second}

// Connection is what the client calls over, for services that it does not name.
func (c *Client) Connection() grpc.ClientConnInterface { return c.connection }

// Close ends the connection and every call over it.
func (c *Client) Close() error { return c.connection.Close() }
