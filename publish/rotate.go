package publish

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Rotation asks for keys to be replaced.
type Rotation struct {
	// What are roles that have one key each, or IDs of keys, of which the
	// first eight digits or more may be given.
	What []string
	// New is the file of the new key, where one is replaced; "": one is made.
	New string
	// To is the folder that new keys are made in; "": for an offline role the
	// first folder of Keys, for an online one the folder that Init was given.
	To string
}

// Replaced is a key that was replaced.
type Replaced struct {
	Role    string  `json:"role"`
	Offline bool    `json:"offline"`
	Old     HeldKey `json:"old"`
	New     HeldKey `json:"new"`
}

// ReplaceKeys takes keys out of their roles and puts others in their place, all
// in one step, and signs anew what they signed. Keys of root, targets, snapshot
// and timestamp stand in the root: its next version is signed by enough of its
// old keys and of its new ones. Those of bases and modules stand in the targets.
//
// If it returns nil the old keys are worth nothing, even after power loss. A
// refusal ([Error]) changes nothing. On any other error the old keys stand, or
// whatever changes the repository next completes the change.
//
// Agents that find the keys of timestamp or snapshot replaced forget the
// versions they saw of either (TUF specification 5.3.11). Where somebody signed
// versions so high that none can follow, they begin again from the lowest free.
func (r *Repository) ReplaceKeys(ctx context.Context, ro Rotation) ([]Replaced, error) {
	lock, st, ring, err := r.beginSigning(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	c := &rotation{r: r, st: st, ring: ring, ask: ro}
	if err := c.plan(); err != nil {
		return nil, err
	}
	if len(c.done) == 0 {
		return nil, nil
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := c.swap(); err != nil {
		return nil, err
	}
	c.startOver()
	return c.done, c.commit()
}

// rotation is a change of keys on its way.
type rotation struct {
	r    *Repository
	st   *state
	ring keyring
	ask  Rotation
	done []Replaced

	old *metadata.Metadata[metadata.RootType] // before the change
}

// plan finds the keys that are meant.
func (c *rotation) plan() error {
	all, err := c.r.ListKeys()
	if err != nil {
		return err
	}
	for _, what := range c.ask.What {
		found := matching(all, what)
		if len(found) == 0 && c.replacedBefore(what) {
			continue
		}
		if len(found) != 1 {
			return ambiguous(c.r.Dir, what, found)
		}
		if !slices.ContainsFunc(c.done, func(d Replaced) bool { return d.Old.ID == found[0].Old.ID }) {
			c.done = append(c.done, found[0])
		}
	}
	if c.ask.New != "" && len(c.done) != 1 {
		return refuse("give one key and its file at a time", "one file cannot take the place of %d keys", len(c.done))
	}
	return nil
}

// matching are the keys that what may mean.
func matching(all []RoleKeys, what string) []Replaced {
	var found []Replaced
	for _, role := range all {
		for _, k := range role.Keys {
			if role.Role == what || len(what) >= 8 && strings.HasPrefix(k.ID, what) {
				found = append(found, Replaced{Role: role.Role, Offline: role.Offline, Old: k})
			}
		}
	}
	return found
}

func ambiguous(dir, what string, found []Replaced) error {
	hint := "freshet-publish key list " + dir + " has roles and IDs of keys"
	if len(found) == 0 {
		return refuse(hint, "%q is no role and no key of one", what)
	}
	var ids []string
	for _, f := range found {
		ids = append(ids, f.Old.ID[:12])
	}
	return refuse("name one of them by its ID", "%s has %d keys: %s", what, len(found), strings.Join(ids, ", "))
}

// replacedBefore says whether an earlier root names the key, or earlier targets
// that are still there: the same command was completed before.
func (c *rotation) replacedBefore(id string) bool {
	if len(id) < 8 {
		return false
	}
	for n := int64(1); n < c.st.Root.Signed.Version; n++ {
		root, err := earlier[metadata.RootType](c.r, metadata.ROOT, n)
		if err == nil && names(root.Signed.Keys, id) {
			return true
		}
	}
	for n := c.st.Targets[metadata.TARGETS].Signed.Version - 1; n > 0; n-- {
		targets, err := earlier[metadata.TargetsType](c.r, metadata.TARGETS, n)
		if err != nil {
			return false // older ones are pruned
		}
		if d := targets.Signed.Delegations; d != nil && names(d.Keys, id) {
			return true
		}
	}
	return false
}

func earlier[T metadata.Roles](r *Repository, role string, version int64) (*metadata.Metadata[T], error) {
	data, err := r.readFile(r.metadata(fmt.Sprintf("%d.%s.json", version, role)), maxMetadata)
	if err != nil {
		return nil, err
	}
	return new(metadata.Metadata[T]).FromBytes(data)
}

func names(keys map[string]*metadata.Key, id string) bool {
	for known := range keys {
		if strings.HasPrefix(known, id) {
			return true
		}
	}
	return false
}

// inRoot says whether the root names the role's keys.
func (c *rotation) inRoot(role string) bool { _, ok := c.st.Root.Signed.Roles[role]; return ok }

func (c *rotation) changesRoot() bool {
	return slices.ContainsFunc(c.done, func(d Replaced) bool { return c.inRoot(d.Role) })
}

func (c *rotation) replaces(role string) bool {
	return slices.ContainsFunc(c.done, func(d Replaced) bool { return d.Role == role })
}

// signs are the roles that must be signed anew, root aside.
func (c *rotation) signs() []string {
	var names []string
	for _, d := range c.done {
		if d.Role != metadata.ROOT && d.Role != metadata.TIMESTAMP && !slices.Contains(names, d.Role) {
			names = append(names, d.Role)
		}
		if !c.inRoot(d.Role) && !slices.Contains(names, metadata.TARGETS) {
			names = append(names, metadata.TARGETS)
		}
	}
	return names
}

// check sees that all keys are at hand before one is made. A role of which a
// key is replaced has the new one too.
func (c *rotation) check() error {
	need := append(c.signs(), metadata.TIMESTAMP)
	if len(need) > 1 {
		need = append(need, metadata.SNAPSHOT)
	}
	if c.changesRoot() {
		if err := c.ring.check(c.st, metadata.ROOT); err != nil { // the old threshold
			return err
		}
	}
	for _, role := range need {
		h, err := c.st.holders(role)
		if err != nil {
			return err
		}
		fresh := 0
		for _, d := range c.done {
			if d.Role == role {
				h.ids = slices.DeleteFunc(slices.Clone(h.ids), func(id string) bool { return id == d.Old.ID })
				fresh++
			}
		}
		if have := len(c.ring.of(h)) + fresh; have < h.threshold {
			return refuse("give the folder that has them with --keys; it may be given more than once",
				"signing %s takes %d keys, of which %d will be at hand", role, h.threshold, have)
		}
	}
	return nil
}

// swap makes the new keys and names them in place of the old ones.
func (c *rotation) swap() error {
	data, err := c.st.Root.ToBytes(false)
	if err != nil {
		return err
	}
	if c.old, err = new(metadata.Metadata[metadata.RootType]).FromBytes(data); err != nil {
		return err
	}
	for i := range c.done {
		d := &c.done[i]
		key, file, err := c.newKey(*d, i)
		if err != nil {
			return err
		}
		pub, id, err := keyID(key)
		if err != nil {
			return err
		}
		if err := c.unused(id); err != nil {
			return err
		}
		d.New = HeldKey{ID: id, File: file}
		if c.inRoot(d.Role) {
			err = errors.Join(c.st.Root.Signed.RevokeKey(d.Old.ID, d.Role), c.st.Root.Signed.AddKey(pub, d.Role))
		} else {
			targets := &c.st.Targets[metadata.TARGETS].Signed
			err = errors.Join(targets.RevokeKey(d.Old.ID, d.Role), targets.AddKey(pub, d.Role))
		}
		if err = errors.Join(err, c.ring.add(key)); err != nil {
			return err
		}
	}
	return nil
}

// unused refuses a key that serves a role already: each has keys of its own.
func (c *rotation) unused(id string) error {
	_, inRoot := c.old.Signed.Keys[id]
	_, inTargets := c.st.Targets[metadata.TARGETS].Signed.Delegations.Keys[id]
	if inRoot || inTargets || c.replacedBefore(id) {
		return refuse("give a key that was never used", "key %s serves a role already, or did", id[:12])
	}
	return nil
}

// newKey reads the key that was given, or makes one. Its file is named after
// the version that brings it, so that a call cut short finds it again.
func (c *rotation) newKey(d Replaced, i int) (crypto.Signer, string, error) {
	if c.ask.New != "" {
		key, err := readKey(c.ask.New)
		return key, c.ask.New, err
	}
	dir, err := c.newKeyDir(d)
	if err != nil {
		return nil, "", err
	}
	where, version := "online", c.st.Targets[metadata.TARGETS].Signed.Version+1
	if d.Offline {
		where = "offline"
	}
	if c.inRoot(d.Role) {
		version = c.old.Signed.Version + 1
	}
	nth := 1
	for _, before := range c.done[:i] {
		if before.Role == d.Role {
			nth++
		}
	}
	file := filepath.Join(dir, fmt.Sprintf("%s-%s-v%d-%d.pem", where, d.Role, version, nth))
	key, err := c.r.makeKey(file)
	return key, file, err
}

func (c *rotation) newKeyDir(d Replaced) (string, error) {
	if c.ask.To != "" {
		return c.ask.To, nil
	}
	dirs, err := c.r.keyDirs()
	if err != nil {
		return "", err
	}
	if !d.Offline {
		return dirs[len(dirs)-1], nil // the remembered folder comes last
	}
	return dirs[0], nil
}

// startOver lets versions that none can follow go, where agents forget them.
func (c *rotation) startOver() {
	st := c.st
	if !c.replaces(metadata.SNAPSHOT) && !c.replaces(metadata.TIMESTAMP) {
		return
	}
	if st.Timestamp.Signed.Version > mostVersion {
		st.Timestamp.Signed.Version = 0
	}
	if st.Snapshot.Signed.Version > mostVersion {
		st.Snapshot.Signed.Version = 0
	}
	for _, role := range []string{metadata.TARGETS, roleBases, roleModules} {
		if c.st.Targets[role].Signed.Version > mostVersion {
			c.st.Targets[role].Signed.Version = 0
		}
	}
}

// commit signs all that changes. What has a name of its own is written first:
// nothing reaches it yet. Root and timestamp then take their places together.
func (c *rotation) commit() error {
	var next pending
	to := issue{life: life, write: func(name string, data []byte) error {
		if name == "metadata/timestamp.json" && c.changesRoot() {
			next.Timestamp = data
			return nil
		}
		return c.r.write(name, data)
	}}
	if !c.changesRoot() {
		return c.r.issue(c.st, c.ring, to, c.signs()...)
	}
	root := c.st.Root
	root.Signed.Version++
	root.Signed.Expires = c.r.now().Add(life(metadata.ROOT))
	data, err := c.signRoot(root)
	if err != nil {
		return err
	}
	next.Root, next.RootData = root.Signed.Version, data
	if err := c.r.issue(c.st, c.ring, to, c.signs()...); err != nil {
		return err
	}
	return c.r.decide(next)
}

// signRoot signs the next root with enough of the old keys and of the new ones.
func (c *rotation) signRoot(root *metadata.Metadata[metadata.RootType]) ([]byte, error) {
	ids := map[string]bool{}
	for _, m := range []*metadata.Metadata[metadata.RootType]{c.old, root} {
		ro := m.Signed.Roles[metadata.ROOT]
		for _, id := range c.ring.of(holders{ro.KeyIDs, ro.Threshold}) {
			ids[id] = true
		}
	}
	root.ClearSignatures()
	for id := range ids {
		if _, err := root.Sign(c.ring[id]); err != nil {
			return nil, fmt.Errorf("signing root: %w", err)
		}
	}
	for _, m := range []*metadata.Metadata[metadata.RootType]{c.old, root} {
		if err := m.VerifyDelegate(metadata.ROOT, root); err != nil {
			return nil, fmt.Errorf("checking the signatures of root: %w", err)
		}
	}
	return root.ToBytes(false)
}
