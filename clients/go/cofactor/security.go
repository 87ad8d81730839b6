package cofactor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"google.golang.org/grpc"
	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// security is how a connection is protected.
type security struct {
	authorities, certificate, key string
	plaintext, anywhere           bool
}

// transport returns gRPC's form of it, or an error before anything is sent.
func (s security) transport(target string) (grpccredentials.TransportCredentials, error) {
	if s.plaintext {
		if s.authorities != "" || s.certificate != "" {
			return nil, errors.New("cofactor: plaintext was asked for, and certificates as well")
		}
		if !s.anywhere && !loopback(target) {
			return nil, fmt.Errorf("cofactor: %s is no loopback address: use TLS, or AllowPlaintext if the network is encrypted", target)
		}
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.authorities != "" {
		pem, err := os.ReadFile(s.authorities)
		if err != nil {
			return nil, fmt.Errorf("cofactor: certificate authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cofactor: certificate authorities: %s holds no certificate", s.authorities)
		}
	}
	if s.certificate != "" {
		if _, err := s.presented(nil); err != nil {
			return nil, err
		}
		config.GetClientCertificate = s.presented
	}
	return grpccredentials.NewTLS(config), nil
}

// presented reads the certificate that is presented now.
func (s security) presented(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	certificate, err := tls.LoadX509KeyPair(s.certificate, s.key)
	if err != nil {
		return nil, fmt.Errorf("cofactor: certificate and key: %w", err)
	}
	return &certificate, nil
}

// loopback tells whether what is sent to a target stays on this machine. A target that it does not understand does not.
func loopback(target string) bool {
	if strings.HasPrefix(target, "unix:") || strings.HasPrefix(target, "unix-abstract:") {
		return true
	}
	for _, scheme := range []string{"dns:///", "dns:", "passthrough:///"} {
		if rest, found := strings.CutPrefix(target, scheme); found {
			target = rest
			break
		}
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		host = strings.Trim(target, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// credentials are the metadata that authenticates. A function, since nothing prints what a function holds.
type credentials func() map[string]string

// GetRequestMetadata implements gRPC's PerRPCCredentials.
func (c credentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	sent := c()
	for name, value := range sent {
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			return nil, fmt.Errorf("cofactor: what is given for %s is empty, or holds characters that can't be sent", name)
		}
	}
	return sent, nil
}

// RequireTransportSecurity is false: [Connect] has judged the transport, and lets plaintext go to loopback.
func (c credentials) RequireTransportSecurity() bool { return false }

// Bearer authorizes one call by a token: an mfa_token, or an access token for the MFA audience.
func Bearer(token string) grpc.CallOption {
	return grpc.PerRPCCredentials(credentials(func() map[string]string {
		if token == "" {
			return map[string]string{"authorization": ""} // refused above, as an empty token
		}
		return map[string]string{"authorization": "Bearer " + token}
	}))
}
