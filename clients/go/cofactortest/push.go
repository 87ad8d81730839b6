package cofactortest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	cofactorv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
)

// PushDevice is a telephone with an app that approves logins, with a key of its own (P-256).
type PushDevice struct {
	server               *Server
	key                  *ecdsa.PrivateKey
	issuer, user, device string
}

// PushDevice scans the barcode of an enrollment, DevicePairing.barcode_uri, and pairs.
func (s *Server) PushDevice(ctx context.Context, barcodeURI string) (*PushDevice, error) {
	scanned, err := scan(barcodeURI)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return nil, err
	}
	device := &PushDevice{server: s, key: key, issuer: scanned.Get("base_url")}
	secret := scanned.Get("enrollment_tx_id")
	statement, err := device.signed("cofactor.pair", map[string]any{
		"secret_sha256": digest([]byte(secret)),
		"key":           map[string]string{"kty": "EC", "crv": "P-256", "x": base64url(point[1:33]), "y": base64url(point[33:])},
		"name":          "A phone in software",
	})
	if err != nil {
		return nil, err
	}
	request := &cofactorv1.PairDeviceRequest{PairingSecret: secret, Statement: statement}
	paired, err := s.testing.Authenticators.PairDevice(ctx, request)
	if err != nil {
		return nil, err
	}
	device.user, device.device = paired.GetUserId(), paired.GetDeviceId()
	return device, nil
}

// Prompt waits for a prompt, until the context ends; one that waits already is returned at once.
func (d *PushDevice) Prompt(ctx context.Context) (*cofactorv1.PromptForDevice, error) {
	nonce, err := d.server.testing.Authenticators.CreateDeviceNonce(ctx, &cofactorv1.CreateDeviceNonceRequest{})
	if err != nil {
		return nil, err
	}
	statement, err := d.signed("cofactor.watch", map[string]any{"nonce": nonce.GetNonce(), "user": d.user, "device": d.device})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := d.server.testing.Challenges.WatchDevice(ctx, &cofactorv1.WatchDeviceRequest{Statement: statement})
	for err == nil {
		var heard *cofactorv1.WatchDeviceResponse
		if heard, err = stream.Recv(); err == nil && heard.GetPrompt() != nil {
			return heard.GetPrompt(), nil
		}
	}
	return nil, err
}

// Approve approves a prompt; number is what the login page shows (DevicePrompt.number), and a wrong one denies.
func (d *PushDevice) Approve(ctx context.Context, prompt *cofactorv1.PromptForDevice, number string) error {
	return d.answer(ctx, prompt, "approve", number)
}

// Deny denies a prompt.
func (d *PushDevice) Deny(ctx context.Context, prompt *cofactorv1.PromptForDevice) error {
	return d.answer(ctx, prompt, "deny", "")
}

func (d *PushDevice) answer(ctx context.Context, prompt *cofactorv1.PromptForDevice, decision, number string) error {
	now, err := d.server.Now(ctx)
	if err != nil {
		return err
	}
	statement, err := d.signed("cofactor.answer", map[string]any{
		"challenge": prompt.GetChallengeId(), "user": d.user, "device": d.device, "decision": decision, "number": number,
		"shown_sha256": digest(prompt.GetShown()), "time": now.Unix(),
	})
	if err != nil {
		return err
	}
	_, err = d.server.testing.Challenges.AnswerChallenge(ctx, &cofactorv1.AnswerChallengeRequest{
		ChallengeId: prompt.GetChallengeId(),
		Proof: &cofactorv1.AnswerChallengeRequest_Signed{
			Signed: &cofactorv1.SignedAnswer{Payload: statement.GetPayload(), Signature: statement.GetSignature()},
		},
	})
	return err
}

// signed makes a statement of a kind.
func (d *PushDevice) signed(kind string, said map[string]any) (*cofactorv1.SignedStatement, error) {
	said["type"], said["version"], said["issuer"] = kind, 1, d.issuer
	payload, err := json.Marshal(said)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(payload)
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, sum[:])
	return &cofactorv1.SignedStatement{Payload: payload, Signature: signature}, err
}

func base64url(octets []byte) string { return base64.RawURLEncoding.EncodeToString(octets) }

func digest(octets []byte) string {
	sum := sha256.Sum256(octets)
	return base64url(sum[:])
}
