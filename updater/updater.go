// Package updater is the update task: it brings the endpoint's bases from what
// is installed to what a signed repository offers, and back.
//
//	refresh ► plan ► fetch ► assemble ► check ► try ► SWITCH ► take ► watch ► confirm
//	(trust)  (pure) (resume) (delta+hash) (content) (engine) (commit)     │
//	                                                 unhealthy ► revert, quarantine
package updater

import (
	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/modules"
)

// Updater updates the bases under one state folder. One process at a time may
// use it: whoever does holds the lock (see [Updater.Lock]).
type Updater struct {
	Dir     string                      // state folder
	Runtime string                      // folder that a boot empties
	Root    []byte                      // pinned root of trust (root.json)
	Sources []source.Source             // mirrors of one repository, in the order to ask
	Bases   []string                    // wanted; nil: every base of the repository
	Engines map[string]modules.Engine   // by base; a base without one is confirmed at once
	Stale   map[string]bases.Thresholds // local thresholds, by base
	Version string                      // of this agent, held against Manifest.Agent
	Disk    *durable.Disk
	Clock   *clock.Clock
	Emit    func(code event.Code, fields map[string]string) // nil: silent
}
