package publish

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sys/unix"
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
func (r *Repository) makeKey(path string) (crypto.Signer, error) {
	if err := r.checkApart(filepath.Dir(path)); err != nil {
		return nil, err
	}
	key, err := readKey(path)
	if err == nil {
		// A run that was killed may have left its name in the page cache alone,
		// and what is signed with it must not outlive it.
		return key, r.Disk.SyncDir(filepath.Dir(path))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	_, made, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return made, r.Disk.WriteFile(path, data, 0o600)
}

// errNoFile says that what is named like a key is a pipe, a device or a folder.
var errNoFile = errors.New("no regular file")

// maxKey is the largest key file in bytes.
const maxKey = 64 << 10

// readKey reads a key that agents take, Ed25519 or ECDSA over P-256, in PKCS#8 or
// SEC 1 and PEM (RFC 5958, RFC 8410, RFC 5915, RFC 7468). It never waits, and gives
// errNoFile for what is no regular file.
func readKey(path string) (crypto.Signer, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe that nobody writes to must not block
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("key %s: %w", path, errNoFile)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, refuse(closeToOthers(f), "key %s can be read by others (mode %04o)", path, st.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKey))
	if err != nil {
		return nil, err
	}
	return parseKey(path, data)
}

// closeToOthers says how to keep others from a key file. FAT knows no modes: they
// are those of the mount.
func closeToOthers(f *os.File) string {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err == nil && noModes(int64(fs.Type)) {
		return remount(f.Name())
	}
	return "chmod 600 " + f.Name()
}

func noModes(fsType int64) bool {
	const exfat = 0x2011bab0 // EXFAT_SUPER_MAGIC of linux/magic.h
	return fsType == unix.MSDOS_SUPER_MAGIC || fsType == exfat
}

func remount(file string) string {
	return fmt.Sprintf("its medium has a FAT file system, which knows no modes: mount it for yourself alone, mount -o ro,umask=077,uid=%d DEVICE FOLDER, or with a FAT that is mounted, mount -o remount,umask=077,uid=%[1]d $(findmnt -n -o TARGET -T %s)",
		os.Getuid(), file)
}

// parseKey reads the first private key of a PEM file.
func parseKey(path string, data []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(data)
	for block != nil && block.Type == "EC PARAMETERS" { // openssl ecparam writes them first
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, refuse("keys are PKCS#8 in PEM, as freshet-publish key replace makes them", "key %s holds no PEM", path)
	}
	var parsed any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, refuse("take the passphrase off where the key is used, as in memory: openssl pkey -in "+path+" -out /dev/shm/NAME.pem; its folder is given with --keys",
			"key %s is protected by a passphrase, which nobody can be asked for here", path)
	case block.Type == "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, refuse("keys are PKCS#8 in PEM; move what is none to another folder", "%s holds a PEM of type %q, no private key that can sign here", path, block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	switch key := parsed.(type) {
	case ed25519.PrivateKey:
		return key, nil
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			return key, nil
		}
	}
	return nil, refuse("freshet-publish key replace makes one", "key %s is neither an Ed25519 key nor one of ECDSA over P-256, which agents take", path)
}

// keyID gives the public half in TUF's form and its ID.
func keyID(key crypto.Signer) (*metadata.Key, string, error) {
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
	err := r.eachKey(func(_ string, key crypto.Signer) error { return ring.add(key) })
	return ring, err
}

// keyFiles gives the files of all keys at hand by their IDs.
func (r *Repository) keyFiles() (map[string]string, error) {
	files := map[string]string{}
	err := r.eachKey(func(file string, key crypto.Signer) error {
		_, id, err := keyID(key)
		files[id] = file
		return err
	})
	return files, err
}

// eachKey calls do with each key at hand. What is named like a key and is no file
// is left out with a warning.
func (r *Repository) eachKey(do func(file string, key crypto.Signer) error) error {
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
			if errors.Is(err, errNoFile) {
				r.warn("%v: it is left out", err)
				continue
			}
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

func (ring keyring) add(key crypto.Signer) error {
	_, id, err := keyID(key)
	if err != nil {
		return err
	}
	ring[id], err = signature.LoadSigner(key, crypto.SHA256)
	return err
}
