package catalog

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"onsale/internal/fault"
)

// Attributes is what is special about a seat, as a set. It stands beside the type
// of the ticket, which comes with its price.
type Attributes uint8

// The attributes of seats. Their numbers are kept in the database and in drawn
// plans.
const (
	Accessible     Attributes = 1 << iota // for people who need such a seat
	Companion                             // for who comes with them
	RestrictedView                        // something stands in the sight
	Aisle                                 // nobody has to stand up
)

const allAttributes = Accessible | Companion | RestrictedView | Aisle

var attributeNames = [...]string{"accessible", "companion", "restricted_view", "aisle"}

// AttributeList names the attributes there are, for messages.
func AttributeList() string { return strings.Join(attributeNames[:], ", ") }

// ParseAttribute finds the attribute of a name.
func ParseAttribute(name string) (Attributes, bool) {
	i := slices.Index(attributeNames[:], name)
	if i < 0 {
		return 0, false
	}
	return 1 << i, true
}

// Has reports whether a has all of b.
func (a Attributes) Has(b Attributes) bool { return a&b == b }

// Names lists a, never nil.
func (a Attributes) Names() []string {
	names := []string{}
	for i, name := range attributeNames {
		if a&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// Words are a as tickets and e-mails say it: "restricted view, aisle".
func (a Attributes) Words() string {
	return strings.ReplaceAll(strings.Join(a.Names(), ", "), "_", " ")
}

// MarshalJSON writes the names.
func (a Attributes) MarshalJSON() ([]byte, error) { return json.Marshal(a.Names()) }

// UnmarshalJSON reads the names. Unknown ones are an error.
func (a *Attributes) UnmarshalJSON(b []byte) error {
	var names []string
	if err := json.Unmarshal(b, &names); err != nil {
		return err
	}
	*a = 0
	for _, name := range names {
		one, ok := ParseAttribute(name)
		if !ok {
			return fmt.Errorf("%q is not an attribute of seats", clip(name))
		}
		*a |= one
	}
	return nil
}

// ForAccess reports whether the seat is kept for people who need an accessible
// one, by its type or by itself.
func (s *Seat) ForAccess() bool { return s.Type == AccessibleType || s.Attributes.Has(Accessible) }

// ForCompanion reports whether the seat is kept for who comes with them. What is
// accessible itself is not.
func (s *Seat) ForCompanion() bool {
	return (s.Type == CompanionType || s.Attributes.Has(Companion)) && !s.ForAccess()
}

// attributes reads a list of names in a plan.
func (r *review) attributes(n *node) Attributes {
	var all Attributes
	for _, m := range r.array(n, "attributes") {
		if m.kind != isString {
			r.problemf(m, "a string is expected, not %s", m.kind)
			continue
		}
		one, ok := ParseAttribute(m.text)
		switch {
		case !ok:
			r.problemf(m, "the attribute %q is not known; there are %s", clip(m.text), AttributeList())
		case all.Has(one):
			r.noticef(m, "the attribute %s stands twice", m.text)
		}
		all |= one
	}
	return all
}

// checkAttribute bounds the filter of tickets.
func checkAttribute(name string) error {
	if _, ok := ParseAttribute(name); name != "" && !ok {
		return fault.New(fault.Invalid, "attribute must be one of %s", AttributeList())
	}
	return nil
}
