package cofactortest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The flags of authenticator data, WebAuthn Level 3 section 6.1.
const (
	userPresent, userVerified, attested = 0x01, 0x04, 0x40
)

// SecurityKey is a security key with the browser in front of it: WebAuthn with ES256 and no attestation.
type SecurityKey struct {
	// Origin is that of the page, by default the demo's address under the name localhost.
	Origin string

	id, userHandle []byte
	key            *ecdsa.PrivateKey
	count          uint32
}

// SecurityKey returns a key without credentials, in front of a page of the demo.
func (s *Server) SecurityKey() *SecurityKey {
	return &SecurityKey{Origin: strings.Replace(s.Demo.HTTP, "127.0.0.1", "localhost", 1)}
}

// options is what both ceremonies ask for, as far as it matters here.
type options struct {
	Challenge string `json:"challenge"`
	RP        struct {
		ID string `json:"id"`
	} `json:"rp"`
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	Parameters []struct {
		Algorithm int `json:"alg"`
	} `json:"pubKeyCredParams"`
	RPID    string       `json:"rpId"`
	Allowed []descriptor `json:"allowCredentials"`
}

type descriptor struct {
	ID string `json:"id"`
}

// Register makes a credential from the JSON of WebAuthnCreation.public_key_json, and returns the JSON for
// MfaWebAuthnGrant.credential_json.
func (k *SecurityKey) Register(publicKeyJSON string) (string, error) {
	var asked options
	if err := json.Unmarshal([]byte(publicKeyJSON), &asked); err != nil {
		return "", fmt.Errorf("cofactortest: creation options: %w", err)
	}
	const es256 = -7
	offered := false
	for _, parameters := range asked.Parameters {
		offered = offered || parameters.Algorithm == es256
	}
	if !offered {
		return "", errors.New("cofactortest: the server does not take ES256")
	}
	handle, err := base64.RawURLEncoding.DecodeString(asked.User.ID)
	if err != nil {
		return "", fmt.Errorf("cofactortest: the user's id: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	point, err := key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return "", err
	}
	k.key, k.userHandle, k.id, k.count = key, handle, make([]byte, 32), 0
	_, _ = rand.Read(k.id) // never fails
	var cose bytes.Buffer
	cose.Write([]byte{0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21}) // {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2:
	cose.Write(cborBytes(point[1:33]))
	cose.WriteByte(0x22) // -3:
	cose.Write(cborBytes(point[33:]))

	made := k.authenticatorData(asked.RP.ID, attested)
	made = append(made, make([]byte, 16)...) // the AAGUID of no model
	made = binary.BigEndian.AppendUint16(made, uint16(len(k.id)))
	made = append(append(made, k.id...), cose.Bytes()...)
	var attestation bytes.Buffer
	attestation.WriteByte(0xa3)
	attestation.Write(cborText("fmt"))
	attestation.Write(cborText("none"))
	attestation.Write(cborText("attStmt"))
	attestation.WriteByte(0xa0)
	attestation.Write(cborText("authData"))
	attestation.Write(cborBytes(made))
	return k.credential(map[string]any{
		"clientDataJSON":    base64url(k.clientData("webauthn.create", asked.Challenge)),
		"attestationObject": base64url(attestation.Bytes()),
		"transports":        []string{"usb"},
	})
}

// Assert signs what WebAuthnPrompt.public_key_json asks for, and returns the JSON for MfaWebAuthnGrant.credential_json.
func (k *SecurityKey) Assert(publicKeyJSON string) (string, error) {
	var asked options
	if err := json.Unmarshal([]byte(publicKeyJSON), &asked); err != nil {
		return "", fmt.Errorf("cofactortest: request options: %w", err)
	}
	allowed := false
	for _, credential := range asked.Allowed {
		allowed = allowed || k.key != nil && credential.ID == base64url(k.id)
	}
	if !allowed {
		return "", errors.New("cofactortest: this key holds no credential that the server allows")
	}
	k.count++
	signed := k.authenticatorData(asked.RPID, 0)
	said := k.clientData("webauthn.get", asked.Challenge)
	hashed := sha256.Sum256(said)
	sum := sha256.Sum256(append(bytes.Clone(signed), hashed[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, k.key, sum[:])
	if err != nil {
		return "", err
	}
	return k.credential(map[string]any{
		"clientDataJSON":    base64url(said),
		"authenticatorData": base64url(signed),
		"signature":         base64url(signature),
		"userHandle":        base64url(k.userHandle),
	})
}

func (k *SecurityKey) clientData(ceremony, challenge string) []byte {
	said, _ := json.Marshal(map[string]any{ // strings and a bool: can't fail
		"type": ceremony, "challenge": challenge, "origin": k.Origin, "crossOrigin": false,
	})
	return said
}

func (k *SecurityKey) authenticatorData(rpID string, flags byte) []byte {
	hashed := sha256.Sum256([]byte(rpID))
	return binary.BigEndian.AppendUint32(append(hashed[:], userPresent|userVerified|flags), k.count)
}

func (k *SecurityKey) credential(response map[string]any) (string, error) {
	credential, err := json.Marshal(map[string]any{
		"id": base64url(k.id), "rawId": base64url(k.id), "type": "public-key", "authenticatorAttachment": "cross-platform",
		"clientExtensionResults": map[string]any{}, "response": response,
	})
	return string(credential), err
}

// cborBytes and cborText are strings in CBOR, RFC 8949 section 3.1.
func cborBytes(value []byte) []byte { return append(cborHead(2, len(value)), value...) }

func cborText(value string) []byte { return append(cborHead(3, len(value)), value...) }

func cborHead(major byte, length int) []byte {
	switch {
	case length < 24:
		return []byte{major<<5 | byte(length)}
	case length < 0x100:
		return []byte{major<<5 | 24, byte(length)}
	}
	return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(length))
}
