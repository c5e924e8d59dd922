package source_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/freshet/freshet/internal/source"
)

// writeSecret puts a file of a mode into a folder of the test's.
func writeSecret(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// secure serves over TLS what answer does, and gives a source that trusts it.
func secure(t *testing.T, answer http.HandlerFunc, change ...func(*httptest.Server)) *source.HTTP {
	t.Helper()
	server := httptest.NewUnstartedServer(answer)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	for _, c := range change {
		c(server)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	s := &source.HTTP{URL: server.URL, Proxy: "none", Roots: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	t.Cleanup(s.CloseIdle)
	return s
}

func TestTheTimestampAloneIsAskedPastCaches(t *testing.T) {
	var seen []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.URL.Path+" "+r.Header.Get("Cache-Control"))
		io.WriteString(w, blob)
	})
	for _, path := range []string{"metadata/2.root.json", source.TimestampPath, "metadata/3.snapshot.json"} {
		if _, err := s.Fetch(context.Background(), path, 100); err != nil {
			t.Fatal(err)
		}
	}
	want := "/repo/metadata/2.root.json ,/repo/metadata/timestamp.json no-cache,/repo/metadata/3.snapshot.json "
	if got := strings.Join(seen, ","); got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func TestTLSBefore12IsRefused(t *testing.T) {
	for _, newest := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
		var reached atomic.Bool
		s := secure(t, func(w http.ResponseWriter, _ *http.Request) { reached.Store(true); io.WriteString(w, blob) },
			func(server *httptest.Server) {
				server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: newest}
			})
		_, err := s.Fetch(context.Background(), "x", 100)
		if old := newest < tls.VersionTLS12; (err != nil) != old || reached.Load() == old {
			t.Errorf("%s: reached %v, error %v", tls.VersionName(newest), reached.Load(), err)
		}
	}
}

func TestCredentialsOfASource(t *testing.T) {
	rows := map[string]struct {
		set  func(t *testing.T, s *source.HTTP)
		want string // of the header
		err  string
	}{
		"a token":                          {func(t *testing.T, s *source.HTTP) { s.Token = writeSecret(t, "aB3-._~+/=\n", 0o600) }, "Bearer aB3-._~+/=", ""},
		"a user and a password":            {func(t *testing.T, s *source.HTTP) { s.Credentials = writeSecret(t, "u:p:w", 0o400) }, "Basic dTpwOnc=", ""},
		"a file that others may read":      {func(t *testing.T, s *source.HTTP) { s.Token = writeSecret(t, "hush", 0o644) }, "", "may be read by others (mode 0644): chmod 600"},
		"credentials that others may read": {func(t *testing.T, s *source.HTTP) { s.Credentials = writeSecret(t, "u:hush", 0o640) }, "", "may be read by others (mode 0640): chmod 600"},
		"a token of two lines":             {func(t *testing.T, s *source.HTTP) { s.Token = writeSecret(t, "hush\r\nX: y", 0o600) }, "", "is not one line"},
		"no token":                         {func(t *testing.T, s *source.HTTP) { s.Token = writeSecret(t, "\n", 0o600) }, "", "is not one line"},
		"a file that is not there":         {func(t *testing.T, s *source.HTTP) { s.Token = "/nowhere/token" }, "", "no such file"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			var got string
			s := secure(t, func(w http.ResponseWriter, r *http.Request) {
				got = r.Header.Get("Authorization")
				io.WriteString(w, blob)
			})
			row.set(t, s)
			_, err := s.Fetch(context.Background(), "x", 100)
			if got != row.want {
				t.Errorf("sent %q, want %q", got, row.want)
			}
			if row.err == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			checkError(t, err, row.err)
			if err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("the error tells it: %v", err)
			}
		})
	}
}

// TestCredentialsStayWithTheirHost has a server lead a client elsewhere, and one
// that is asked unencrypted.
func TestCredentialsStayWithTheirHost(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	s := secure(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	s.Token = writeSecret(t, "hush", 0o600)
	_, err := s.Fetch(context.Background(), "x", 100)
	checkError(t, err, "redirects to elsewhere")
	if elsewhere.Load() != 0 {
		t.Error("another host was asked")
	}
	for _, allowed := range []bool{false, true} {
		var asked []string
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Header.Get("Authorization"))
			io.WriteString(w, blob)
		})
		s.Token, s.PlainHTTP = writeSecret(t, "hush", 0o600), allowed
		_, err := s.Fetch(context.Background(), "x", 100)
		switch {
		case !allowed:
			checkError(t, err, "plain_http: true")
			if len(asked) != 0 {
				t.Errorf("sent %q", asked)
			}
		case err != nil || len(asked) != 1 || asked[0] != "Bearer hush":
			t.Errorf("sent %q, %v", asked, err)
		}
	}
}

// TestWhoRefusesUsSaysWhatItWants is about sources and proxies, the latter asked
// for files and for tunnels.
func TestWhoRefusesUsSaysWhatItWants(t *testing.T) {
	rows := map[string]struct {
		challenges []string
		set        bool
		proxy      string
		source     string
	}{
		"NTLM and Negotiate": {[]string{"NTLM", "Negotiate"}, true,
			"the proxy wants NTLM or Negotiate authentication, and Freshet knows Basic alone", "the source wants NTLM or Negotiate authentication"},
		"NTLM, and nothing is set": {[]string{"NTLM TlRMTVNTUAAC"}, false, "the proxy wants NTLM authentication", "the source wants NTLM authentication"},
		"Basic among others, all in one line": {[]string{`Negotiate, Basic realm="a, b", NTLM`}, true,
			"the proxy does not accept the credentials that are set (it offers Negotiate, Basic, NTLM)", "the source does not accept the credentials that are set"},
		"Basic, and nothing is set": {[]string{`basic realm="x"`}, false, "the proxy wants proxy_credentials", "the source wants credentials"},
		"no word of it":             {nil, true, "the proxy does not accept the credentials that are set", "the source does not accept the credentials that are set"},
		"rubbish":                   {[]string{"<script>", strings.Repeat("x", 1000)}, false, "the proxy wants proxy_credentials", "the source wants credentials"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			refuse := func(status int, header string) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					w.Header()[header] = row.challenges
					w.WriteHeader(status)
				}
			}
			front := httptest.NewServer(refuse(http.StatusProxyAuthRequired, "Proxy-Authenticate"))
			t.Cleanup(front.Close)
			secret := ""
			if row.set {
				secret = writeSecret(t, "u:hush", 0o600)
			}
			for _, scheme := range []string{"http", "https"} {
				s := &source.HTTP{URL: scheme + "://updates.example.org", Proxy: front.URL, ProxyCredentials: secret}
				_, err := s.Fetch(context.Background(), "x", 100)
				s.CloseIdle()
				checkError(t, err, row.proxy)
				if err != nil && (strings.Contains(err.Error(), "hush") || len(err.Error()) > 600) {
					t.Errorf("%s: error %v", scheme, err)
				}
			}
			s := secure(t, refuse(http.StatusUnauthorized, "Www-Authenticate"))
			s.Credentials = secret
			_, err := s.Fetch(context.Background(), "x", 100)
			checkError(t, err, row.source)
		})
	}
}
