package settings

import (
	"errors"
	"fmt"
	"strings"
)

// ErrMissing says that there is no settings file. The defaults hold then.
var ErrMissing = errors.New("there is no settings file")

// ErrOpen says that everyone may write the settings file.
var ErrOpen = errors.New("the settings file may be written by everyone")

// Problem is one thing wrong with a settings file.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line"` // from 1; 0: the file as a whole
	Text string `json:"text"`
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems is all that is wrong with a settings file, by line.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "; ")
}
