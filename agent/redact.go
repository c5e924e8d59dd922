package agent

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/updater"
)

// mayChange says whether the caller may change things, and so see what the
// settings hold.
func (a *Agent) mayChange(req *http.Request) bool {
	caller, known := api.CallerOf(req.Context())
	return known && a.gate().MayChange(caller)
}

// shown are the settings as the caller may see them.
func (a *Agent) shown(req *http.Request, s *settings.Settings) *settings.Settings {
	if a.mayChange(req) {
		return s.Redacted()
	}
	c := s.Public()
	c.Firewall = nil // its rules are not everybody's to see: see /v1/firewall
	return c
}

// evidence is what a program of the engine wrote, for those who set the program.
func (a *Agent) evidence(req *http.Request, u *updater.Updater, h api.Held) string {
	if h.Module != "" || !a.mayChange(req) {
		return ""
	}
	return u.Evidence(h.Base, h.Version)
}

// notForAll stands for what quotes the settings file.
const notForAll = "what is wrong with it is shown to those who may change things"

// publicEvents are events as everybody may see them: an error of the settings
// quotes the file.
func publicEvent(e event.Event) event.Event {
	if e.Code != event.SettingsRefused && e.Code != event.SettingsNotMigrated {
		return e
	}
	fields := map[string]string{}
	for name, value := range e.Fields {
		fields[name] = value
	}
	fields["error"] = notForAll
	p := event.New(e.Time, e.Code, fields)
	p.Seq = e.Seq
	return p
}

// redacting is an answer to who may not change anything: secrets of the settings
// are masked in it, and what programs of engines wrote.
type redacting struct {
	http.ResponseWriter
	secrets []string
}

// Write takes whole JSON values, as package api writes them.
func (r *redacting) Write(p []byte) (int, error) {
	text := quotedOutput.ReplaceAllString(redact(string(p), r.secrets), "“***”")
	if _, err := r.ResponseWriter.Write([]byte(text)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Unwrap is for http.ResponseController.
func (r *redacting) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// plain is v as JSON with &, < and > as they are.
func plain(v any) (string, error) {
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSpace(text.String()), err
}

var (
	credentials = regexp.MustCompile(`(://)[^/\s"]*@`)
	queries     = regexp.MustCompile(`(https?://[^\s"?\\]*\?)[^\s"\\]+`)

	// quotedOutput is what modules.CommandError quotes; a reason that was cut off
	// may lack its end.
	quotedOutput = regexp.MustCompile(`“[^”"]*”?`)
)

// redact takes credentials and queries out of URLs in JSON, whoever wrote them
// there, and the secrets wherever they stand.
func redact(text string, secrets []string) string {
	text = credentials.ReplaceAllString(text, "${1}***@")
	text = queries.ReplaceAllString(text, "${1}***")
	for _, s := range secrets {
		if len(s) < 4 { // shorter ones would tear up words, and stand in URLs alone
			continue
		}
		for _, escape := range []func(any) (string, error){plain, escaped} {
			if quoted, err := escape(s); err == nil {
				text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], "***")
			}
		}
	}
	return text
}

func escaped(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}
