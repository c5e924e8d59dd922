package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/delta"
)

// putBlob stores data under its hash. A blob already there is read back and
// kept, so that a release begun again writes only what is missing; the caller
// syncs the folder before anything names the blob.
func (r *Repository) putBlob(data []byte) (bases.Blob, error) {
	b := bases.Blob{Size: int64(len(data)), SHA256: sha256.Sum256(data)}
	if err := r.checkBlob(b); err == nil {
		return b, nil
	}
	return b, r.write(b.Path(), data)
}

// checkBlob reads a blob through and says whether it is what it is named after.
func (r *Repository) checkBlob(b bases.Blob) error {
	f, err := os.Open(r.path(b.Path()))
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	if n != b.Size || bases.Hash(h.Sum(nil)) != b.SHA256 {
		return fmt.Errorf("%s is damaged: it has not the content that it is named after", b.Path())
	}
	return nil
}

// readBlob reads a blob of at most limit bytes and checks its hash.
func (r *Repository) readBlob(b bases.Blob, limit int64) ([]byte, error) {
	data, err := r.readFile(r.path(b.Path()), min(b.Size, limit))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing", b.Path())
	}
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != b.Size || sha256.Sum256(data) != b.SHA256 {
		return nil, fmt.Errorf("%s is damaged: it has not the content that it is named after", b.Path())
	}
	return data, nil
}

// apply gives the image that a delta leads to from old, or from the empty
// image where old is nil, and checks its hash.
func (r *Repository) apply(ctx context.Context, old []byte, d bases.Blob, size int64, sum bases.Hash) ([]byte, error) {
	patch, err := r.readBlob(d, d.Size)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Grow(int(size) + bytes.MinRead)
	err = delta.Apply(ctx, &out, bytes.NewReader(old), int64(len(old)), bytes.NewReader(patch), int64(len(patch)), size)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(out.Bytes()) != sum {
		return nil, fmt.Errorf("the delta leads to another image than %s", sum)
	}
	return out.Bytes(), nil
}

// makeDelta makes the delta from old, or from the empty image where old is nil.
func makeDelta(ctx context.Context, old, image []byte, opt delta.Options) ([]byte, error) {
	var patch bytes.Buffer
	_, err := delta.Make(ctx, &patch, old, image, opt) // it has tried the delta before it gives it
	return patch.Bytes(), err
}
