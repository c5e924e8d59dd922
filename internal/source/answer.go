package source

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

var errPage = fmt.Errorf("%w: a web page; is there a portal or a proxy in the way, or is the address wrong?", ErrWrongFile)

// bodyStart is the offset at which the body of an answer to a request for the
// bytes from offset on begins. Whatever contradicts the signed size is an
// error before a byte of it is read.
func bodyStart(res *http.Response, path string, offset, size int64) (int64, error) {
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPartialContent {
		drain(res)
		return 0, statusError(res, path)
	}
	if err := checkEncoding(res); err != nil {
		return 0, err
	}
	var start int64
	if res.StatusCode == http.StatusPartialContent {
		if err := checkContentRange(res.Header.Get("Content-Range"), offset, size); err != nil {
			return 0, err
		}
		start = offset
	}
	if n := res.ContentLength; n >= 0 && n != size-start {
		if isPage(res) {
			return 0, errPage
		}
		return 0, sizeError(start+n, size)
	}
	return start, nil
}

// checkContentRange holds an answer to the range that was asked for:
// RFC 9110, 14.4.
func checkContentRange(value string, offset, size int64) error {
	if offset == 0 {
		return fmt.Errorf("%w: a part came where the whole was asked for", ErrWrongFile)
	}
	want := fmt.Sprintf("bytes %d-%d/", offset, size-1)
	whole, ok := strings.CutPrefix(value, want)
	if !ok || whole != "*" && whole != fmt.Sprint(size) {
		return fmt.Errorf("%w: the part %q came where %q was asked for", ErrWrongFile, clip(value), want+fmt.Sprint(size))
	}
	return nil
}

// checkEncoding refuses compressed bodies, which may unpack to any size.
func checkEncoding(res *http.Response) error {
	if e := res.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return fmt.Errorf("%w: the server compresses (%q) although it was asked not to", ErrWrongFile, clip(e))
	}
	return nil
}

func isPage(res *http.Response) bool {
	return strings.HasPrefix(strings.ToLower(res.Header.Get("Content-Type")), "text/html")
}

// drain reads a small error page, so that its connection can be used again.
func drain(res *http.Response) {
	const small = 2 << 10
	if res.ContentLength >= 0 && res.ContentLength <= small {
		io.CopyN(io.Discard, res.Body, small)
	}
}

func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
