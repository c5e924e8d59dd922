package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func delegatesTo(md *targetsMetadata, role string) bool {
	d := md.Signed.Delegations
	return d != nil && slices.ContainsFunc(d.Roles, func(r metadata.DelegatedRole) bool { return r.Name == role })
}

// delegations are the roles that md trusts with a path, in order, up to and
// with the first terminating one. (go-tuf has the like, but compares
// path_hash_prefixes with the hash in base64, where section 4.5 of the
// specification means hex.)
func delegations(md *targetsMetadata, target string) (roles []string, terminating bool) {
	if md.Signed.Delegations == nil {
		return nil, false
	}
	for _, r := range md.Signed.Delegations.Roles {
		if !matches(r, target) {
			continue
		}
		roles = append(roles, r.Name)
		if r.Terminating {
			return roles, true
		}
	}
	return roles, false
}

func matches(r metadata.DelegatedRole, target string) bool {
	if len(r.Paths) > 0 {
		return slices.ContainsFunc(r.Paths, func(pattern string) bool { return matchesPattern(pattern, target) })
	}
	sum := sha256.Sum256([]byte(target))
	digest := hex.EncodeToString(sum[:])
	return slices.ContainsFunc(r.PathHashPrefixes, func(prefix string) bool { return strings.HasPrefix(digest, prefix) })
}

// matchesPattern compares segment by segment: no wildcard, not even a class
// in brackets, matches a "/". A pattern that is none matches nothing.
func matchesPattern(pattern, target string) bool {
	patterns, segments := strings.Split(pattern, "/"), strings.Split(target, "/")
	if len(patterns) != len(segments) {
		return false
	}
	for i, p := range patterns {
		if ok, err := path.Match(p, segments[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
