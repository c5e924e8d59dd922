package source

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/sys/unix"
)

const (
	environmentFile = "/etc/environment"
	maxSmallFile    = 64 << 10
)

// proxy gives the function that names the proxy for a request.
func (h *HTTP) proxy() (func(*http.Request) (*url.URL, error), error) {
	switch h.Proxy {
	case "none":
		return nil, nil
	case "", "system":
		file := h.EnvironmentFile
		if file == "" {
			file = environmentFile
		}
		return func(req *http.Request) (*url.URL, error) {
			return systemProxy(file).ProxyFunc()(req.URL)
		}, nil
	}
	u, err := url.Parse(h.Proxy)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, errors.New("the proxy is not system, none or a URL as http://host:port without credentials")
	}
	return func(*http.Request) (*url.URL, error) {
		if h.ProxyCredentials == "" {
			return u, nil
		}
		user, err := readCredentials("the proxy credentials", h.ProxyCredentials)
		if err != nil {
			return nil, err
		}
		with := *u
		with.User = user
		return &with, nil
	}, nil
}

// systemProxy is what the environment says of proxies or, where it says
// nothing, what file says: systemd starts services without /etc/environment.
func systemProxy(file string) *httpproxy.Config {
	own := httpproxy.FromEnvironment()
	if own.HTTPProxy != "" || own.HTTPSProxy != "" || own.NoProxy != "" {
		return own
	}
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return own // most machines have none
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSmallFile))
	if err != nil {
		return own
	}
	vars := ParseEnvironment(string(data))
	get := func(name string) string {
		if v := vars[name]; v != "" {
			return v
		}
		return vars[strings.ToLower(name)]
	}
	return &httpproxy.Config{HTTPProxy: get("HTTP_PROXY"), HTTPSProxy: get("HTTPS_PROXY"), NoProxy: get("NO_PROXY")}
}

// ParseEnvironment reads the form of /etc/environment as pam_env(8) does:
// lines of NAME=value, "export" before the name, quotes around the value, and
// # to the end of the line allowed. Nothing is expanded; lines of any other
// form are passed over.
func ParseEnvironment(text string) map[string]string {
	vars := map[string]string{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		line = strings.TrimPrefix(line, "export ")
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.ContainsAny(name, " \t\"'") {
			continue
		}
		vars[name] = unquote(strings.TrimSpace(value))
	}
	return vars
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}
