package agent

import (
	"time"

	"github.com/freshet/freshet/internal/source"
)

// JudgeWall is the judgement of the firewall in trials of modules.
var JudgeWall = judgeWall

// TimeOfTLS is what the first source's certificates are held against.
func (a *Agent) TimeOfTLS() time.Time { return a.force.sources[0].(*source.HTTP).Time() }

// Others is what the supervisor is told of callers who are not root.
func (a *Agent) Others() int { return a.callers.others() }
