package updater

// reporter turns the steps of a run into Progress values. Its zero value, with
// no one to report to, is silent.
type reporter struct {
	to    func(Progress)
	p     Progress
	spend map[string]int64 // bytes of content fetched, by base
}

func (r *reporter) send() {
	if r.to != nil {
		r.to(r.p)
	}
}

func (r *reporter) phase(phase, base string) {
	r.p.Phase, r.p.Base = phase, base
	r.send()
}

func (r *reporter) plan(p Plan) {
	r.p.Total = p.Bytes
	for _, b := range p.Bases {
		r.p.Steps += len(b.Steps)
	}
	r.send()
}

// replan adds another way to the total: what was fetched in vain stays done.
func (r *reporter) replan(j *job) {
	for _, s := range j.steps {
		r.p.Total += s.Size
		r.p.Steps++
	}
	r.send()
}

// fetching gives the callback for step i of a job, called with the bytes of
// the step that are there.
func (r *reporter) fetching(j *job, i int) func(int64) {
	r.p.Step++
	if r.spend == nil {
		r.spend = map[string]int64{}
	}
	before, spent := r.p.Done, r.spend[j.name]
	return func(n int64) {
		r.p.Done, r.spend[j.name] = before+n, spent+n
		r.send()
	}
}

func (r *reporter) spent(j *job) int64 { return r.spend[j.name] }

func (r *reporter) done() {
	r.p.Phase, r.p.Base = PhaseDone, ""
	r.send()
}
