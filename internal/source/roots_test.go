package source_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/source"
)

// authority makes a certificate authority, and a certificate by it for this
// machine. The first result is the authority in PEM.
func authority(t *testing.T) ([]byte, tls.Certificate) {
	t.Helper()
	make := func(c, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) []byte {
		c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, byKey)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	caKey, key := newKey(), newKey()
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "a company"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER := make(ca, ca, caKey, caKey)
	der := make(&x509.Certificate{Subject: pkix.Name{CommonName: "a mirror"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, ca, key, caKey)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// ofACompany is a source whose authority nobody knows yet, its authority in PEM,
// and how many handshakes were tried.
func ofACompany(t *testing.T) (*source.HTTP, []byte, *atomic.Int64) {
	t.Helper()
	ca, certificate := authority(t)
	var hellos atomic.Int64
	s := secure(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, blob) }, func(server *httptest.Server) {
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			hellos.Add(1)
			return nil, nil
		}}
	})
	s.Roots = nil
	return s, ca, &hellos
}

func appendTo(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
}

func TestAnAuthorityThatIsAddedLaterIsTaken(t *testing.T) {
	dir := t.TempDir()
	bundle, folder := filepath.Join(dir, "bundle.pem"), filepath.Join(dir, "certs")
	other, _ := authority(t)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	rows := map[string]struct {
		own bool // a file of the source's own
		add string
	}{
		"to the system's bundle": {false, bundle},
		"to the system's folder": {false, filepath.Join(folder, "company.pem")},
		"to the source's file":   {true, filepath.Join(dir, "own.pem")},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SSL_CERT_FILE", bundle)
			t.Setenv("SSL_CERT_DIR", folder)
			for _, path := range []string{bundle, filepath.Join(dir, "own.pem")} {
				os.Remove(path)
				appendTo(t, path, other)
			}
			s, ca, hellos := ofACompany(t)
			if row.own {
				s.CA = row.add
			}
			for n := range 2 {
				_, err := s.Fetch(context.Background(), "x", 100)
				checkError(t, err, "name its file by ca")
				checkError(t, err, "unknown authority")
				if tried := hellos.Load(); tried > int64(n)+2 {
					t.Errorf("%d handshakes for %d requests", tried, n+1)
				}
			}
			appendTo(t, row.add, ca)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					if data, err := s.Fetch(context.Background(), "x", 100); err != nil || string(data) != blob {
						t.Errorf("%q, %v", data, err)
					}
				})
			}
			all.Wait()
		})
	}
}

func TestAnAuthorityOfASourceStandsInPlaceOfTheSystems(t *testing.T) {
	s, ca, _ := ofACompany(t)
	dir := t.TempDir()
	t.Setenv("SSL_CERT_FILE", filepath.Join(dir, "bundle.pem"))
	t.Setenv("SSL_CERT_DIR", filepath.Join(dir, "none"))
	appendTo(t, filepath.Join(dir, "bundle.pem"), ca)
	s.CA = filepath.Join(dir, "own.pem")
	_, err := s.Fetch(context.Background(), "x", 100)
	checkError(t, err, "no such file")
	other, _ := authority(t)
	appendTo(t, s.CA, []byte("# nothing"))
	_, err = s.Fetch(context.Background(), "x", 100)
	checkError(t, err, "no certificate in PEM")
	appendTo(t, s.CA, append([]byte("\n"), other...))
	_, err = s.Fetch(context.Background(), "x", 100)
	checkError(t, err, "unknown authority")
}
