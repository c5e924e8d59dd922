package publish

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// keyring holds the private keys at hand by their TUF key ID.
type keyring map[string]signature.Signer

// keyFiles names the files of a role's keys, so that the name alone says where
// each belongs.
func (ro role) keyFiles() []string {
	where := "online"
	if ro.offline {
		where = "offline"
	}
	if ro.keys == 1 {
		return []string{fmt.Sprintf("%s-%s.pem", where, ro.name)}
	}
	var names []string
	for i := range ro.keys {
		names = append(names, fmt.Sprintf("%s-%s-%d.pem", where, ro.name, i+1))
	}
	return names
}

// makeKey reads the key file at path, or makes one of mode 0600 if there is none.
func (r *Repository) makeKey(path string) (ed25519.PrivateKey, error) {
	key, err := readKey(path)
	if err == nil {
		// A run that was killed may have left its name in the page cache alone,
		// and what is signed with it must not outlive it.
		return key, r.Disk.SyncDir(filepath.Dir(path))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return key, r.Disk.WriteFile(path, data, 0o600)
}

// readKey reads an Ed25519 key in PKCS#8 and PEM (RFC 8410, RFC 5958).
func readKey(path string) (ed25519.PrivateKey, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, refuse("chmod 600 "+path, "key %s can be read by others (mode %04o)", path, st.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("key %s holds no PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key %s is no Ed25519 key", path)
	}
	return key, nil
}

// keyID gives the public half in TUF's form and its ID.
func keyID(key ed25519.PrivateKey) (*metadata.Key, string, error) {
	pub, err := metadata.KeyFromPublicKey(key.Public())
	if err != nil {
		return nil, "", err
	}
	id, err := pub.ID()
	return pub, id, err
}

// keyDirs are the folders in which keys are looked for.
func (r *Repository) keyDirs() ([]string, error) {
	c, err := r.readConfig()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	dirs := r.Keys
	_, err = os.Stat(c.Keys)
	if c.Keys != "" && (err == nil || len(dirs) == 0) {
		// The remembered folder comes last: offline keys given from a stick
		// are used together with the online ones.
		dirs = append(dirs[:len(dirs):len(dirs)], c.Keys)
	}
	if len(dirs) == 0 {
		return nil, refuse("give the folder with --keys", "no folder of keys is known for %s", r.Dir)
	}
	return dirs, nil
}

// keyring reads all keys at hand. Which role a key serves is not read from its
// name but from the metadata.
func (r *Repository) keyring() (keyring, error) {
	ring := keyring{}
	err := r.eachKey(func(_ string, key ed25519.PrivateKey) error { return ring.add(key) })
	return ring, err
}

// keyFiles gives the files of all keys at hand by their IDs.
func (r *Repository) keyFiles() (map[string]string, error) {
	files := map[string]string{}
	err := r.eachKey(func(file string, key ed25519.PrivateKey) error {
		_, id, err := keyID(key)
		files[id] = file
		return err
	})
	return files, err
}

func (r *Repository) eachKey(do func(file string, key ed25519.PrivateKey) error) error {
	dirs, err := r.keyDirs()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return refuse("give the folder with --keys", "reading the keys: %v", err)
		}
		for _, e := range entries {
			if e.IsDir() || !strings.HasSuffix(e.Name(), ".pem") {
				continue
			}
			file := filepath.Join(dir, e.Name())
			key, err := readKey(file)
			if err == nil {
				err = do(file, key)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (ring keyring) add(key ed25519.PrivateKey) error {
	_, id, err := keyID(key)
	if err != nil {
		return err
	}
	ring[id], err = signature.LoadED25519Signer(key)
	return err
}
