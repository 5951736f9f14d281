package catalog

import (
	"fmt"

	"onsale/internal/fault"
)

// Problem is one thing that is wrong in a document, with its place as a JSON
// path such as $.zones[3].rows[0].seats[7].
type Problem struct {
	Path    string `json:"path"`
	Message string `json:"message"`
}

func (p Problem) String() string { return p.Path + ": " + p.Message }

// Notice is something odd but harmless in a document. Count says how often it
// occurs; Path is the first place.
type Notice struct {
	Path    string `json:"path"`
	Message string `json:"message"`
	Count   int    `json:"count"`
}

func (n Notice) String() string {
	if n.Count > 1 {
		return fmt.Sprintf("%s: %s (%d times, this is the first)", n.Path, n.Message, n.Count)
	}
	return n.Path + ": " + n.Message
}

// mostProblems bounds how many problems are listed one by one; all are counted.
const mostProblems = 100

// review collects what is found in one document, so that all of it can be
// reported at once.
type review struct {
	defaults Defaults
	problems []Problem
	found    int // problems, listed or not
	notices  []Notice
	noticed  map[string]int // message → index into notices
}

func (r *review) problemf(at *node, format string, args ...any) {
	r.found++
	if len(r.problems) < mostProblems {
		r.problems = append(r.problems, Problem{at.path(), fmt.Sprintf(format, args...)})
	}
}

// noticef counts occurrences of one message and keeps the first place.
func (r *review) noticef(at *node, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if i, ok := r.noticed[message]; ok {
		r.notices[i].Count++
		return
	}
	if len(r.notices) >= mostProblems {
		return
	}
	if r.noticed == nil {
		r.noticed = make(map[string]int)
	}
	r.noticed[message] = len(r.notices)
	r.notices = append(r.notices, Notice{at.path(), message, 1})
}

// err is nil without problems, else one fault.Invalid with all of them in the
// member "problems".
func (r *review) err(what string) error {
	switch r.found {
	case 0:
		return nil
	case 1:
		return fault.New(fault.Invalid, "%s: %s", what, r.problems[0]).With("problems", r.problems)
	default:
		return fault.New(fault.Invalid, "%s has %d problems; the first is %s", what, r.found, r.problems[0]).With("problems", r.problems)
	}
}
