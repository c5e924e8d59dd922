package agent_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/api"
)

// TestASharedAnswerIsNoStrangersWhoseCallerMaySeeMore: answers are made once a
// second for all who are not root, and who may change things is shown more.
func TestASharedAnswerIsNoStrangersWhoseCallerMaySeeMore(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	w.settings("bases:\n  - {name: hosts, took: [/bin/true, \"--key=k3y s3cret\"]}\n")
	a := w.core()
	a.Group = "root" // the group 0
	s := w.startOf(a).settled()
	w.write("freshet.yaml", "version: 1\nsources: [{url: \"ftp://user:p4ss@x\"}]\n") // its refusal quotes it
	w.eventually("the file is refused", func() bool { return s.status().Refused != "" })
	h := a.Handler()
	ask := func(path string, c api.Caller) string {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil).WithContext(api.WithCaller(t.Context(), c)))
		return rec.Body.String()
	}
	root := api.Caller{UID: os.Geteuid()}
	member, unknown := api.Caller{UID: stranger, GID: 0}, api.Caller{UID: stranger + 1, GID: stranger}
	const secret, quoted = "k3y s3cret", "ftp"
	for path, want := range map[string][]string{
		"/v1/settings": {secret, quoted}, "/v1/support": {quoted}, "/v1/status": {quoted}, "/v1/bases": nil,
		"/v1/bases/hosts/detail": nil,
	} {
		for who, c := range map[string]api.Caller{"root": root, "a member of the group": member} {
			more := ask(path, c)
			for _, text := range want {
				if !strings.Contains(more, text) {
					t.Errorf("%s lacks %q for %s: %s", path, text, who, more)
				}
			}
			less := ask(path, unknown)
			for _, text := range []string{secret, quoted} {
				if strings.Contains(less, text) {
					t.Errorf("%s shows %q to a stranger, after %s: %s", path, text, who, less)
				}
			}
		}
	}
	if other := ask("/v1/bases/none/detail", unknown); !strings.Contains(other, string(api.NoSuchBase)) {
		t.Errorf("asked for another base, the answer is %s", other)
	}
}
