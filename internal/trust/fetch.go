package trust

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// fetch reads the file of a role from a source.
func fetch(ctx context.Context, f Fetcher, role, path string, limit int64) ([]byte, error) {
	data, err := f.Fetch(ctx, path, limit)
	var wrong *Error
	switch {
	case errors.As(err, &wrong):
		return nil, wrong
	case errors.Is(err, ErrTooLarge):
		return nil, &Error{Kind: Malformed, Role: role, Err: err}
	case err != nil:
		return nil, &Error{Kind: Unavailable, Role: role, Err: err}
	case int64(len(data)) > limit:
		return nil, fail(Malformed, role, "%s: %w: more than %d bytes", path, ErrTooLarge, limit)
	}
	return data, nil
}

// fetchNamed fetches a file that other metadata names by version, and by
// length and hash if meta has them. They are checked before anything parses it.
func fetchNamed(ctx context.Context, f Fetcher, role string, meta *metadata.MetaFiles, consistent bool) ([]byte, error) {
	limit := ceiling(role)
	if meta.Length > limit {
		return nil, fail(Malformed, role, "its length is named as %d bytes, more than %d", meta.Length, limit)
	}
	if meta.Length > 0 {
		limit = meta.Length
	}
	right := func(data []byte) error {
		if err := meta.VerifyLengthHashes(data); err != nil {
			return &Error{Kind: Mismatch, Role: role, Err: err}
		}
		return nil
	}
	if n, ok := f.(NamedFetcher); ok {
		f = named{n, right}
	}
	data, err := fetch(ctx, f, role, metadataPath(role, meta.Version, consistent), limit)
	if err != nil {
		return nil, err
	}
	if err := right(data); err != nil {
		return nil, err
	}
	return data, nil
}

// named fetches what other metadata names.
type named struct {
	NamedFetcher
	right func([]byte) error
}

func (n named) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	return n.FetchNamed(ctx, path, limit, n.right)
}

func metadataPath(role string, version int64, consistent bool) string {
	if !consistent {
		return "metadata/" + url.PathEscape(role) + ".json"
	}
	return fmt.Sprintf("metadata/%d.%s.json", version, url.PathEscape(role))
}
