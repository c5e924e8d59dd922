package source_test

import (
	"context"
	"encoding/base64"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/freshet/freshet/internal/source"
)

// proxy is a small real one: it forwards http and tunnels CONNECT, both to
// target whatever the name, and wants credentials if they are set.
type proxy struct {
	target string
	auth   string

	mu    sync.Mutex // guards asked
	asked []string
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.mu.Unlock()
	if p.auth != "" && r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(p.auth)) {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		out, err := http.Get("http://" + p.target + r.URL.Path)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer out.Body.Close()
		w.WriteHeader(out.StatusCode)
		io.Copy(w, out.Body)
		return
	}
	there, err := net.Dial("tcp", p.target)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer there.Close()
	w.WriteHeader(http.StatusOK)
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	done := make(chan struct{})
	go func() { io.Copy(there, buffered); there.Close(); close(done) }()
	io.Copy(here, there)
	here.Close()
	<-done
}

// behind starts a server and a proxy that leads to it alone.
func behind(t *testing.T, secure bool) (*proxy, *httptest.Server, string) {
	t.Helper()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, blob) })
	server := httptest.NewUnstartedServer(h)
	if secure {
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	p := &proxy{target: server.Listener.Addr().String()}
	front := httptest.NewServer(p)
	t.Cleanup(front.Close)
	return p, server, front.URL
}

func clearEnvironment(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUEST_METHOD"} {
		t.Setenv(name, "")
		t.Setenv(strings.ToLower(name), "")
	}
}

func fetchBlob(t *testing.T, s *source.HTTP) {
	t.Helper()
	defer s.CloseIdle()
	if data, err := s.Fetch(context.Background(), "x", 100); err != nil || string(data) != blob {
		t.Errorf("%q, %v", data, err)
	}
}

func TestProxyComesFromWhereTheSettingsSay(t *testing.T) {
	p, _, address := behind(t, false)
	file := filepath.Join(t.TempDir(), "environment")
	if err := os.WriteFile(file, []byte("PATH=\"/bin\"\nexport http_proxy=\""+address+"\" # ours\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "none")
	rows := map[string]struct {
		env  string
		http *source.HTTP
	}{
		"the environment":                      {address, &source.HTTP{EnvironmentFile: none}},
		"the environment, by name":             {address, &source.HTTP{Proxy: "system", EnvironmentFile: none}},
		"the file, when the environment holds": {"", &source.HTTP{EnvironmentFile: file}},
		"its own URL":                          {"http://127.0.0.1:1", &source.HTTP{Proxy: address}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			t.Setenv("HTTP_PROXY", row.env)
			before := len(p.requests())
			row.http.URL = "http://updates.example.org/repo"
			fetchBlob(t, row.http)
			if got := p.requests()[before:]; len(got) != 1 || got[0] != "GET http://updates.example.org/repo/x" {
				t.Errorf("the proxy was asked %q", got)
			}
		})
	}
}

func TestWithoutAProxyNoneIsAsked(t *testing.T) {
	p, server, address := behind(t, false)
	file := filepath.Join(t.TempDir(), "environment")
	if err := os.WriteFile(file, []byte("http_proxy="+address), 0o644); err != nil {
		t.Fatal(err)
	}
	direct := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}
	for name, row := range map[string]struct{ env, noProxy, proxy string }{
		"the settings say none":                   {address, "", "none"},
		"the environment excepts the host":        {address, "example.org", "system"},
		"the environment excepts it alone":        {"", "example.org", "system"}, // the file does not count then
		"the settings say none, the file has one": {"", "", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			t.Setenv("HTTP_PROXY", row.env)
			t.Setenv("NO_PROXY", row.noProxy)
			fetchBlob(t, &source.HTTP{URL: "http://updates.example.org", Proxy: row.proxy, EnvironmentFile: file, Dial: direct})
			if got := p.requests(); len(got) != 0 {
				t.Errorf("the proxy was asked %q", got)
			}
		})
	}
}

func TestHTTPSGoesThroughATunnel(t *testing.T) {
	p, server, address := behind(t, true)
	p.auth = "freshet:pass:word"
	secret := filepath.Join(t.TempDir(), "proxy.secret")
	if err := os.WriteFile(secret, []byte("freshet:pass:word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	s := &source.HTTP{URL: "https://example.com", Proxy: address, ProxyCredentials: secret, Roots: roots}
	fetchBlob(t, s)
	if got := p.requests(); len(got) != 1 || got[0] != "CONNECT example.com:443" {
		t.Errorf("the proxy was asked %q", got)
	}
	t.Run("and a server whose certificate is of nobody known is refused", func(t *testing.T) {
		s := &source.HTTP{URL: "https://example.com", Proxy: address, ProxyCredentials: secret}
		_, err := s.Fetch(context.Background(), "x", 100)
		checkError(t, err, "certificate")
	})
}

func TestProxyCredentialsAreKeptSafe(t *testing.T) {
	p, _, address := behind(t, false)
	p.auth = "u:p"
	rows := map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"right":                     {"u:p", 0o600, ""},
		"right, with a line's end":  {"u:p\r\n", 0o400, ""},
		"wrong":                     {"u:x", 0o600, "the proxy does not accept the credentials that are set"},
		"readable by the group":     {"u:p", 0o640, "may be read by others (mode 0640): chmod 600"},
		"readable by all":           {"u:p", 0o644, "chmod 600"},
		"no password":               {"user", 0o600, "not one line user:password"},
		"two lines":                 {"u:p\nX: y", 0o600, "not one line user:password"},
		"nothing":                   {"", 0o600, "not one line user:password"},
		"far too long":              {"u:" + strings.Repeat("p", 5000), 0o600, "more than 4096 bytes"},
		"no file, but a folder":     {"/", 0, "no regular file"},
		"a file that is not there":  {"-", 0, "no such file"},
		"a password is not printed": {"u:secret\nx", 0o600, "not one line"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret")
			switch row.content {
			case "/":
				path = t.TempDir()
			case "-":
			default:
				if err := os.WriteFile(path, []byte(row.content), row.mode); err != nil {
					t.Fatal(err)
				}
			}
			s := &source.HTTP{URL: "http://updates.example.org", Proxy: address, ProxyCredentials: path}
			defer s.CloseIdle()
			if row.want == "" {
				fetchBlob(t, s)
				return
			}
			_, err := s.Fetch(context.Background(), "x", 100)
			checkError(t, err, row.want)
			if strings.Contains(err.Error(), "secret\n") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestEnvironmentFileIsReadAsPAMReadsIt(t *testing.T) {
	got := source.ParseEnvironment(strings.Join([]string{
		"# http_proxy=commented",
		"http_proxy=http://a:1",
		`  HTTPS_PROXY = "http://b:2"  # trailing`,
		"export NO_PROXY='x, y'",
		"empty=",
		"just words",
		"=nothing",
		`half="open`,
		"two words=x",
		"last=no newline",
	}, "\n"))
	want := map[string]string{
		"http_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2", "NO_PROXY": "x, y",
		"empty": "", "half": `"open`, "last": "no newline",
	}
	if !maps.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzParseEnvironment(f *testing.F) {
	f.Add("export A=\"b\" # c\n\x00=\n'")
	f.Fuzz(func(t *testing.T, text string) {
		for name, value := range source.ParseEnvironment(text) {
			if name == "" || strings.ContainsAny(name+value, "\n") {
				t.Errorf("%q = %q", name, value)
			}
		}
	})
}
