package checkout

import "onsale/catalog"

// accessibleType is the ticket type of seats kept for people who need them.
const accessibleType = "accessible"

// runsOf cuts the layout's runs where accessible seats begin and end, so that
// the search for best available tickets keeps the two apart.
func runsOf(layout *catalog.Layout) []RunInfo {
	var runs []RunInfo
	for _, r := range layout.Runs {
		start := r.First
		for o := r.First; o < r.First+r.Count; o++ {
			next := o + 1
			accessible := layout.Seats[o].Type == accessibleType
			if next < r.First+r.Count && (layout.Seats[next].Type == accessibleType) == accessible {
				continue
			}
			runs = append(runs, RunInfo{First: start, Count: next - start, Tier: r.Tier, GA: r.GA, Accessible: accessible})
			start = next
		}
	}
	return runs
}
