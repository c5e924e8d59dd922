package source_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/source"
)

// TestCertificatesAreHeldAgainstTheTimeThatIsGiven: the test server's certificate
// is valid from 1970 to 2084.
func TestCertificatesAreHeldAgainstTheTimeThatIsGiven(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) }))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	for year, valid := range map[int]bool{1969: false, 2026: true, 2083: true, 2085: false} {
		s := &source.HTTP{URL: server.URL, Proxy: "none", Roots: roots, Time: func() time.Time { return time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC) }}
		_, err := s.Fetch(t.Context(), "x", 10)
		if valid != (err == nil) {
			t.Errorf("in %d: %v", year, err)
		}
		if err != nil && !strings.Contains(err.Error(), "is this machine's clock right?") {
			t.Errorf("in %d the clock is not named: %v", year, err)
		}
		s.CloseIdle()
	}
}
