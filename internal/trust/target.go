package trust

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Target is a file that a trusted role vouches for.
type Target struct {
	Path      string            // as the role names it: "bases/maltrail.json"
	Role      string            // who signed it: "targets", "bases", …
	Keys      string            // SHA-256 of the IDs of that role's keys in hex: another once they are replaced
	Length    int64             // bytes
	SHA256    [sha256.Size]byte // of the content
	Hashes    map[string]string // all of its hashes in hex, by algorithm
	Custom    json.RawMessage   // nil if there is none
	FetchPath string            // for a Fetcher: "targets/bases/HASH.maltrail.json"
}

// Hex is the SHA-256 of the content in hex.
func (t Target) Hex() string { return hex.EncodeToString(t.SHA256[:]) }

// Target finds a target by the search of the specification (5.6.7): pre-order
// and depth first through the delegations that match its path. Metadata of
// delegated roles on the way is fetched from f unless the right one is stored,
// and stored once verified. A nil f looks into what is stored alone. A path
// that no role names is [NoTarget].
func (v *View) Target(ctx context.Context, f Fetcher, path string) (Target, error) {
	role, md, err := v.search(ctx, f, path)
	if err != nil {
		return Target{}, err
	}
	t, err := v.target(role, path, md.Signed.Targets[path])
	t.Keys = v.keysOf(role, md)
	return t, err
}

// keysOf tells the keys of a role's metadata that was loaded.
func (v *View) keysOf(role string, md *targetsMetadata) string {
	var ids []string
	for at, loaded := range v.loaded {
		if at.role != role || loaded != md {
			continue
		}
		if at.parent == nil {
			ids = v.trusted.Root.Signed.Roles[role].KeyIDs
			break
		}
		for _, d := range at.parent.Signed.Delegations.Roles {
			if d.Name == role {
				ids = d.KeyIDs
			}
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(ids)), "\n")))
	return hex.EncodeToString(sum[:])
}

// List returns the targets that a role named by the top-level targets signs
// and is trusted for, sorted by path. Those outside of the paths delegated to
// it, or for which another role comes first, are left out. A role that is not
// delegated is [NoTarget].
func (v *View) List(ctx context.Context, f Fetcher, role string) ([]Target, error) {
	top, err := v.load(ctx, f, metadata.TARGETS, nil)
	if err != nil {
		return nil, err
	}
	md := top
	if role != metadata.TARGETS {
		if !delegatesTo(top, role) {
			return nil, fail(NoTarget, role, "the targets role does not delegate to it")
		}
		if md, err = v.load(ctx, f, role, top); err != nil {
			return nil, err
		}
	}
	var list []Target
	for path, file := range md.Signed.Targets {
		_, trusted, err := v.search(ctx, f, path)
		if KindOf(err) == NoTarget || err == nil && trusted != md {
			continue
		}
		if err != nil {
			return nil, err
		}
		t, err := v.target(role, path, file)
		if err != nil {
			return nil, err
		}
		t.Keys = v.keysOf(role, md)
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Target) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// search returns the first role in the order of the specification that names
// a path. A role on the way that cannot be verified ends the search: what
// comes after it must not take its place.
func (v *View) search(ctx context.Context, f Fetcher, path string) (string, *targetsMetadata, error) {
	visited := map[string]bool{}
	todo := []edge{{nil, metadata.TARGETS}} // a stack, the next one last
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if visited[at.role] {
			continue
		}
		if len(visited) == maxRoles {
			return "", nil, fail(Malformed, at.role, "looking for %q passed more than %d roles", path, maxRoles)
		}
		visited[at.role] = true
		md, err := v.load(ctx, f, at.role, at.parent)
		if err != nil {
			return "", nil, err
		}
		if md.Signed.Targets[path] != nil {
			return at.role, md, nil
		}
		next, terminating := delegations(md, path)
		if terminating {
			todo = todo[:0]
		}
		for _, role := range slices.Backward(next) {
			todo = append(todo, edge{md, role})
		}
	}
	return "", nil, fail(NoTarget, "", "no trusted role names %q", path)
}

// target makes a Target of what a role says of a path.
func (v *View) target(role, path string, file *metadata.TargetFiles) (Target, error) {
	if !fs.ValidPath(path) || path == "." {
		return Target{}, fail(Malformed, role, "%q is no path within the repository", path)
	}
	t := Target{Path: path, Role: role, Length: file.Length, Hashes: map[string]string{}}
	for algorithm, hash := range file.Hashes {
		t.Hashes[algorithm] = hash.String()
	}
	name := file.Hashes["sha256"]
	switch {
	case len(name) == sha256.Size:
		t.SHA256 = [sha256.Size]byte(name)
	case len(name) == 0 && v.anyHash && len(file.Hashes["sha512"]) == sha512.Size:
		name = file.Hashes["sha512"]
	default:
		return Target{}, fail(Malformed, role, "target %q has no SHA-256", path)
	}
	if file.Custom != nil {
		t.Custom = *file.Custom
	}
	if v.trusted.Root.Signed.ConsistentSnapshot {
		t.FetchPath = fetchPath(path, name.String())
	} else {
		t.FetchPath = fetchPath(path, "")
	}
	return t, nil
}

// fetchPath is where a target is found, its name prefixed by its hash when
// the repository keeps consistent snapshots.
func fetchPath(target, hash string) string {
	dir, name := path.Split(target)
	if hash != "" {
		name = hash + "." + name
	}
	segments := strings.Split(dir+name, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return "targets/" + strings.Join(segments, "/")
}
