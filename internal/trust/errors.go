package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Kind says what is wrong, for those who act on it.
type Kind string

const (
	// Expired metadata is past its date: updates stop until the publisher
	// signs anew, or the source is a frozen one.
	Expired Kind = "expired"
	// Behind is a source that lags behind what was already seen. The next
	// source is asked; it is neither an attack nor a failed update.
	Behind Kind = "behind"
	// Reused is a version that was seen with another content: its publisher came
	// back from a backup, or there are two of them. It is noted and refuses nothing.
	Reused Kind = "reused"
	// Rollback is newer metadata that names an older version of a part than
	// was seen, or leaves it out: a publisher's mistake or an attack.
	Rollback Kind = "rollback"
	// BadSignature is metadata without enough signatures of its role's keys.
	BadSignature Kind = "bad-signature"
	// Mismatch is a file whose length, hash, version or type is not the one
	// named for it: a damaged source, one being copied, or mix-and-match.
	Mismatch Kind = "mismatch"
	// Malformed is metadata that cannot be read or breaks a limit.
	Malformed Kind = "malformed"
	// Unavailable is a source that could not give a file it must have.
	Unavailable Kind = "unavailable"
	// Damaged is a stored file that cannot be used and was passed over.
	Damaged Kind = "damaged"
	// Storage is a disk that could not be read or written.
	Storage Kind = "storage"
	// NoRoot is a client without any usable root of trust.
	NoRoot Kind = "no-root"
	// NoTarget is a path that no role trusted for it names.
	NoTarget Kind = "no-target"
	// NotStored is metadata that was never fetched, asked for without a source.
	NotStored Kind = "not-stored"
)

// Error is any failure of this package.
type Error struct {
	Kind Kind
	Role string // "root", "bases", …; empty if it is about none
	Err  error

	// Empty, of Expired: the metadata of a delegated role is what the snapshot
	// names and the role signed, and names no target.
	Empty bool
}

func (e *Error) Error() string {
	if e.Role == "" {
		return fmt.Sprintf("%s: %v", e.Kind, e.Err)
	}
	return fmt.Sprintf("%s metadata: %s: %v", e.Role, e.Kind, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of an error from this package, empty for any other.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// IsEmpty says whether an error is about expired metadata that names nothing.
func IsEmpty(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Empty
}

// RoleOf is the role that an error from this package is about, "" for none.
func RoleOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Role
	}
	return ""
}

func fail(kind Kind, role, format string, args ...any) error {
	return &Error{Kind: kind, Role: role, Err: fmt.Errorf(format, args...)}
}

// rejected gives an error of go-tuf's its kind.
func rejected(role string, err error) error {
	kind := Malformed
	switch {
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		kind = Expired
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}), errors.Is(err, &metadata.ErrValue{}):
		kind = BadSignature
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}), errors.Is(err, &metadata.ErrBadVersionNumber{}):
		kind = Mismatch
	}
	return &Error{Kind: kind, Role: role, Err: err}
}

// lapsed is rejected, and says at what time data expired if that is the reason,
// with what against says of it.
func lapsed(role string, err error, data []byte, against func(time.Time) string) error {
	var doc struct {
		Signed struct {
			Version int64     `json:"version"`
			Expires time.Time `json:"expires"`
		} `json:"signed"`
	}
	if !isExpired(err) || json.Unmarshal(data, &doc) != nil {
		return rejected(role, err)
	}
	return fail(Expired, role, "version %d expired at %s%s", doc.Signed.Version, stamp(doc.Signed.Expires), against(doc.Signed.Expires))
}

func isExpired(err error) bool { return errors.Is(err, &metadata.ErrExpiredMetadata{}) }
