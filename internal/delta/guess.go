package delta

// guess follows a place in the history as long as it predicts what comes.
type guess struct {
	at    int         // in the history; 0 is none
	n     int         // bytes that it predicted rightly, at most 31
	right [2][16]prob // by the expected bit
	// state within one byte
	expect uint32 // the byte, with a one above it
	live   bool
}

// begin looks up the byte that comes next if the guess is right.
func (g *guess) begin(history []byte) {
	g.live = g.at > 0 && g.at < len(history)
	if g.live {
		g.expect = uint32(history[g.at]) | 0x100
	}
}

// opinion returns the guess's input to the mix for bit i of a byte whose upper
// bits, below a one, are node: 0 once they are not those expected.
func (g *guess) opinion(t *textModel, node uint32, i int) int32 {
	if !g.live {
		return 0
	}
	if g.expect>>uint(i+1) != node {
		g.live = false
		return 0
	}
	e := g.expect >> uint(i) & 1
	s := int32(t.stretch[g.right[e][min(g.n, 15)].p()>>4])
	if e == 0 {
		return -s
	}
	return s
}

func (g *guess) learn(t *textModel, bit uint32, i int) {
	if g.live {
		e := g.expect >> uint(i) & 1
		g.right[e][min(g.n, 15)].learn(1^bit^e, t.rates, 255)
	}
}

// next moves on over a byte that was coded, or gives up.
func (g *guess) next(v byte, history []byte) {
	if g.at == 0 || g.at >= len(history) {
		g.at = 0
		return
	}
	if history[g.at] != v {
		g.at, g.n = 0, 0
		return
	}
	g.at++
	g.n = min(g.n+1, 31)
}

func (g *guess) restart(at int) { g.at, g.n = at, 0 }
