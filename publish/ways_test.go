package publish_test

import (
	"testing"

	"github.com/freshet/freshet/publish"
)

// TestABaseThatShrankMuchGetsAFullImage: who begins does not fetch what is gone,
// and what is gone is not served for their sake.
func TestABaseThatShrankMuchGetsAFullImage(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", lines(0, 3000))
	put(t, r, "b", lines(0, 2990))
	if m := manifest(t, r, "b"); m.Start == nil {
		t.Fatal("version 2 has a full image of its own")
	}
	put(t, r, "b", lines(0, 1400), func(rel *publish.Release) { rel.Shrink = "half of them are gone" })
	if m := manifest(t, r, "b"); m.Start != nil {
		t.Errorf("who begins fetches version %d first", m.Start.Version)
	}
}
