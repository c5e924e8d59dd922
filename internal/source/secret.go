package source

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const maxSecret = 4 << 10

// readSecret reads the one line of a file that only its owner, who is root or
// the user running this, may read. what names it in errors, which never quote it.
func readSecret(what, path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", what, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", what, err)
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s: %s is no regular file", what, path)
	}
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s: %s may be read by others (mode %04o): chmod 600 %s", what, path, mode, path)
	}
	if own, ok := st.Sys().(*syscall.Stat_t); ok && own.Uid != 0 && int(own.Uid) != os.Geteuid() {
		return "", fmt.Errorf("%s: %s belongs to another user (uid %d)", what, path, own.Uid)
	}
	data, err := readAtMost(f, maxSecret)
	if err != nil {
		return "", fmt.Errorf("reading %s: %s: %w", what, path, err)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

// readCredentials reads "user:password" as [readSecret] reads.
func readCredentials(what, path string) (*url.Userinfo, error) {
	line, err := readSecret(what, path)
	if err != nil {
		return nil, err
	}
	user, password, ok := strings.Cut(line, ":")
	if !ok || user == "" || strings.ContainsAny(line, "\r\n\x00") {
		return nil, fmt.Errorf("%s: %s is not one line user:password", what, path)
	}
	return url.UserPassword(user, password), nil
}

// readToken reads a bearer token (RFC 6750, 2.1) as [readSecret] reads.
func readToken(path string) (string, error) {
	const what = "the token of the source"
	line, err := readSecret(what, path)
	if err != nil {
		return "", err
	}
	strange := func(r rune) bool { return r <= ' ' || r > '~' }
	if line == "" || strings.ContainsFunc(line, strange) {
		return "", fmt.Errorf("%s: %s is not one line, a token without spaces", what, path)
	}
	return line, nil
}

// authorize adds what the source wants to know of who asks. http.Client passes
// it on along redirects, which stay at the host: see checkRedirect.
func (h *HTTP) authorize(req *http.Request) error {
	if user := h.base.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	if h.Token == "" && h.Credentials == "" {
		return nil
	}
	if req.URL.Scheme != "https" && !h.PlainHTTP {
		return errors.New("the source's credentials would go unencrypted: give its address as https, or set plain_http: true beside them")
	}
	if h.Token != "" {
		token, err := readToken(h.Token)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
	user, err := readCredentials("the source's credentials", h.Credentials)
	if err != nil {
		return err
	}
	password, _ := user.Password()
	req.SetBasicAuth(user.Username(), password)
	return nil
}

// refused makes an answer that is about who asks an error that says what is
// wanted, nil for any other. A proxy's 407 comes here where it was asked for the
// file itself, and from [http.Transport] where it was asked for a tunnel. proxy is
// the one that was asked, nil if none was.
func (h *HTTP) refused(res *http.Response, path string, proxy *url.URL) error {
	e := &StatusError{Status: res.StatusCode, Path: path}
	switch res.StatusCode {
	case http.StatusUnauthorized:
		e.Wants = wish("source", "credentials", res.Header.Values("Www-Authenticate"), h.Token != "" || h.Credentials != "" || h.base.User != nil, "Basic", "Bearer")
	case http.StatusProxyAuthRequired:
		e.Wants = wish("proxy", "proxy_credentials", res.Header.Values("Proxy-Authenticate"), proxy != nil && proxy.User != nil, "Basic")
	default:
		return nil
	}
	return e
}

// wish is what who wants, given what it offers and whether credentials are set.
func wish(who, setting string, challenges []string, set bool, known ...string) string {
	offers := schemes(challenges)
	speaks := func(scheme string) bool {
		for _, k := range known {
			if strings.EqualFold(k, scheme) {
				return true
			}
		}
		return false
	}
	some := len(offers) == 0
	for _, o := range offers {
		some = some || speaks(o)
	}
	switch {
	case !some:
		return fmt.Sprintf("the %s wants %s authentication, and Freshet knows %s alone: have it let this machine through, or go by a proxy that does it in its place", who, strings.Join(offers, " or "), strings.Join(known, " and "))
	case set && len(offers) > 0:
		return fmt.Sprintf("the %s does not accept the credentials that are set (it offers %s)", who, strings.Join(offers, ", "))
	case set:
		return fmt.Sprintf("the %s does not accept the credentials that are set", who)
	}
	return fmt.Sprintf("the %s wants %s", who, setting)
}

// schemes are the authentication schemes that challenges name (RFC 9110, 11.6.1):
// a few, as they are shown to people.
func schemes(challenges []string) []string {
	const most = 5
	var all []string
	for _, c := range challenges {
		for part := range strings.SplitSeq(c, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(part), " ")
			if name != "" && len(name) <= 20 && !strings.ContainsFunc(name, noSchemeRune) && len(all) < most {
				all = append(all, name)
			}
		}
	}
	return all
}

// noSchemeRune says whether r stands in no registered scheme. A "=" is that of a
// challenge's parameter.
func noSchemeRune(r rune) bool {
	return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}
