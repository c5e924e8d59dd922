package publish_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet/publish"
)

// ecKey is a new P-256 key in SEC 1 and PEM.
func ecKey(t *testing.T, curve elliptic.Curve) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func TestKeysOfP256SignAsAgentsTakeThem(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	file := filepath.Join(t.TempDir(), "p256.pem")
	if err := os.WriteFile(file, ecKey(t, elliptic.P256()), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Keys = []string{filepath.Dir(file)}
	if _, err := r.ReplaceKeys(t.Context(), publish.Rotation{What: []string{"timestamp"}, New: file}); err != nil {
		t.Fatal(err)
	}
	put(t, r, "b", ten(1)) // signed by it, and read back as an agent does
}

func TestWhatIsNoKeyIsSaidToBeWhatItIs(t *testing.T) {
	t.Parallel()
	block := func(kind string, headers map[string]string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: []byte("x")})
	}
	for _, row := range []struct {
		name    string
		content []byte
		mode    os.FileMode
		want    string
	}{
		{"a passphrase, PKCS#8", block("ENCRYPTED PRIVATE KEY", nil), 0o600, "protected by a passphrase"},
		{"a passphrase, as before", block("EC PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED"}), 0o600, "protected by a passphrase"},
		{"a certificate", block("CERTIFICATE", nil), 0o600, `PEM of type "CERTIFICATE"`},
		{"another curve", ecKey(t, elliptic.P384()), 0o600, "neither an Ed25519 key nor one of ECDSA over P-256"},
		{"open to others", ecKey(t, elliptic.P256()), 0o644, "can be read by others"},
		{"no PEM", []byte("key"), 0o600, "holds no PEM"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := &publish.Repository{Dir: filepath.Join(t.TempDir(), "repo")}
			keys := filepath.Join(t.TempDir(), "keys")
			if _, err := r.Init(t.Context(), keys); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(keys, "other.pem"), row.content, row.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v, want %q", err, row.want)
			}
		})
	}
}

func TestAPipeAmongTheKeysBlocksNobody(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	keys := filepath.Join(filepath.Dir(r.Dir), "keys")
	if err := syscall.Mkfifo(filepath.Join(keys, "agent.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	var told []string
	r.Warn = func(text string) { told = append(told, text) }
	if _, err := r.Refresh(t.Context()); err != nil || len(told) != 1 || !strings.Contains(told[0], "agent.pem: no regular file") {
		t.Errorf("%v, told %q", err, told)
	}
}

func TestKeysDoNotComeIntoTheRepositoryByALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := &publish.Repository{Dir: filepath.Join(dir, "repo")}
	inside := filepath.Join(dir, "real/secret")
	if err := os.MkdirAll(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "real"), r.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(inside, filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	for _, keys := range []string{filepath.Join(dir, "keys"), filepath.Join(dir, "keys/new"), filepath.Join(dir, "real/new")} {
		if _, err := r.Init(t.Context(), keys); err == nil || !strings.Contains(err.Error(), "served to everyone") {
			t.Errorf("keys in %s: %v", keys, err)
		}
	}

	// Keys that are made later go the same way.
	r = newRepo(t)
	if err := os.Symlink(r.Dir, filepath.Join(dir, "to")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReplaceKeys(t.Context(), publish.Rotation{What: []string{"timestamp"}, To: filepath.Join(dir, "to")}); err == nil || !strings.Contains(err.Error(), "served to everyone") {
		t.Errorf("a new key in the repository: %v", err)
	}
}

func TestAFATIsSaidHowToMount(t *testing.T) {
	const ext4, vfat, exfat = 0xef53, 0x4d44, 0x2011bab0
	if publish.NoModes(ext4) || !publish.NoModes(vfat) || !publish.NoModes(exfat) {
		t.Error("a file system is taken for another")
	}
	if hint := publish.Remount("/media/stick/a.pem"); !strings.Contains(hint, "umask=077,uid=") || !strings.Contains(hint, "findmnt -n -o TARGET -T /media/stick/a.pem") || strings.Contains(hint, "%!") {
		t.Error(hint)
	}
}
