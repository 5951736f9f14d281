package waitroom

import "onsale/internal/fault"

// Lane is a band of the line. Everybody in a lane goes before everybody in the
// next; all lanes share one count of places.
type Lane int

// The lanes, from the front. Suspect is for those who look like one person with
// many visitors, until they show that they are not.
const (
	NoLane Lane = iota // of somebody without a place
	Staff
	Accessibility
	Fan
	General
	Suspect
)

var lanes = [...]string{NoLane: "", Staff: "staff", Accessibility: "accessibility", Fan: "fan", General: "general", Suspect: "suspect"}

// String is the lane's name in the API; "" for NoLane.
func (l Lane) String() string {
	if l < 0 || int(l) >= len(lanes) {
		return ""
	}
	return lanes[l]
}

// ParseLane finds a lane by its name. The error is fault.Invalid.
func ParseLane(name string) (Lane, error) {
	for l := Staff; l <= Suspect; l++ {
		if lanes[l] == name {
			return l, nil
		}
	}
	return NoLane, fault.New(fault.Invalid, "lane must be staff, accessibility, fan, general or suspect")
}
