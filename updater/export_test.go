package updater

import "github.com/freshet/freshet/internal/source"

// What tests see of paces.
func SetPace(p *Pace, name string, rate float64) { p.set(name, rate) }
func OrderByPace(p *Pace, list []source.Source)  { p.order(list) }
