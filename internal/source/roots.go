package source

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Where Linux keeps the certificate authorities that a machine trusts: the
// first of the files that can be read, and all that is in the folders. The
// variables stand in for them, as in crypto/x509.
var (
	bundleFiles = []string{
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ssl/cert.pem",
	}
	bundleFolders = []string{"/etc/ssl/certs", "/etc/pki/tls/certs"}
)

const (
	bundleFileVariable    = "SSL_CERT_FILE"
	bundleFoldersVariable = "SSL_CERT_DIR"

	maxBundle      = 16 << 20 // bytes of one file of authorities
	maxBundleFiles = 4096     // in one folder of them
)

// trusting is a transport that reads its certificate authorities again, once a
// request, where a server's is none of them: a company's may have been added
// since. crypto/x509 reads the system's once in the life of a process.
type trusting struct {
	read  func() ([]byte, error) // what the authorities are now, in PEM; nil: they do not change
	eager bool                   // they are in a file of the source's own

	mu        sync.Mutex // guards the fields below
	transport *http.Transport
	last      [sha256.Size]byte // of what was read last
}

// RoundTrip is that of [http.RoundTripper]. Requests have no body, so that one
// may be sent twice; no byte of it has passed before the server is trusted.
func (t *trusting) RoundTrip(req *http.Request) (*http.Response, error) {
	transport, err := t.now()
	if err != nil {
		return nil, err
	}
	res, err := transport.RoundTrip(req)
	if !isUnknown(err) {
		return res, err
	}
	again, e := t.reload(transport)
	if e == nil && again != nil {
		res, err = again.RoundTrip(req)
	}
	if isUnknown(err) {
		err = fmt.Errorf("%w: if its authority is your company's, add it to the system's, or name its file by ca beside the source's url", err)
	}
	if err != nil {
		return nil, errors.Join(err, e)
	}
	return res, nil
}

func isUnknown(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown)
}

// CloseIdleConnections is what http.Client looks for.
func (t *trusting) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.transport.CloseIdleConnections()
}

// now is the transport to use. Authorities in a file of their own are read
// before the first use; the system's are those of crypto/x509 until a server's
// is unknown.
func (t *trusting) now() (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.eager || t.transport.TLSClientConfig.RootCAs != nil {
		return t.transport, nil
	}
	_, err := t.load()
	return t.transport, err
}

// reload gives a transport with the authorities as they are now, nil if they
// are still those that failed has.
func (t *trusting) reload(failed *http.Transport) (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.read == nil {
		return nil, nil
	}
	if t.transport != failed { // another request was quicker
		return t.transport, nil
	}
	changed, err := t.load()
	if err != nil || !changed {
		return nil, err
	}
	failed.CloseIdleConnections()
	return t.transport, nil
}

// load reads the authorities, and says whether they are others than those read
// before. The caller holds t.mu.
func (t *trusting) load() (bool, error) {
	pem, err := t.read()
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(pem)
	if sum == t.last {
		return false, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) && t.eager {
		return false, errors.New("the certificate authorities of the source: no certificate in PEM is in their file")
	}
	next := t.transport.Clone()
	next.TLSClientConfig.RootCAs = roots
	t.transport, t.last = next, sum
	return true, nil
}

// authorities gives what reads a source's certificate authorities: its own file
// or, without one, those of the system. Nil: they are fixed.
func (h *HTTP) authorities() func() ([]byte, error) {
	switch {
	case h.Roots != nil:
		return nil
	case h.CA != "":
		return func() ([]byte, error) {
			pem, err := readBundle(h.CA)
			if err != nil {
				return nil, fmt.Errorf("reading the certificate authorities of the source: %w", err)
			}
			return pem, nil
		}
	}
	return systemBundle
}

// systemBundle reads the authorities that the machine trusts, from disk. What
// cannot be read is passed over, as crypto/x509 does.
func systemBundle() ([]byte, error) {
	files, folders := bundleFiles, bundleFolders
	if f := os.Getenv(bundleFileVariable); f != "" {
		files = []string{f}
	}
	if d := os.Getenv(bundleFoldersVariable); d != "" {
		folders = filepath.SplitList(d)
	}
	var all bytes.Buffer
	for _, f := range files {
		if pem, err := readBundle(f); err == nil {
			all.Write(pem)
			break
		}
	}
	for _, d := range folders {
		list, err := os.ReadDir(d)
		if err != nil {
			continue
		}
		for _, e := range list[:min(len(list), maxBundleFiles)] {
			if pem, err := readBundle(filepath.Join(d, e.Name())); err == nil {
				all.WriteByte('\n') // a file may end without one
				all.Write(pem)
			}
		}
		if all.Len() > maxBundle {
			break
		}
	}
	return all.Bytes(), nil
}

func readBundle(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		return nil, err
	}
	return readAtMost(f, maxBundle)
}
