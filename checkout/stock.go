package checkout

// Counts are tickets by state.
type Counts struct {
	Total     int `json:"total"`
	Available int `json:"available"`
	Held      int `json:"held"`
	Sold      int `json:"sold"`
	Blocked   int `json:"blocked"` // kept for a channel
}

// Stock counts an event's tickets. It is shared: do not change it.
type Stock struct {
	Counts

	Tiers []Counts `json:"-"` // by tier index
	Seq   int64    `json:"-"` // of the last change
	Epoch int64    `json:"-"` // of the load that the counting started from
}

// Left is how many tickets may still be had: available now or when holds lapse.
func (c Counts) Left() int { return c.Available + c.Held }

// Availability says in a word what is left.
type Availability string

// What may be left. A ticket that somebody holds may come back, so that what has
// only held tickets is not sold out.
const (
	Plenty  Availability = "available"
	FewLeft Availability = "few_left" // less than a tenth can be had now
	SoldOut Availability = "sold_out"
)

// Availability says in a word what is left.
func (c Counts) Availability() Availability {
	switch {
	case c.Left() == 0:
		return SoldOut
	case c.Available*10 < c.Total:
		return FewLeft
	}
	return Plenty
}

// Add counts n tickets in a state. Other bytes count as blocked: nobody can have
// them.
func (c *Counts) Add(state TicketState, n int) {
	c.Total += n
	switch state {
	case Available:
		c.Available += n
	case Held:
		c.Held += n
	case Sold:
		c.Sold += n
	default:
		c.Blocked += n
	}
}

// Of is the number of tickets in a state.
func (c Counts) Of(state TicketState) int {
	switch state {
	case Available:
		return c.Available
	case Held:
		return c.Held
	case Sold:
		return c.Sold
	default:
		return c.Blocked
	}
}

// TicketStates lists the states a ticket can be in.
var TicketStates = [...]TicketState{Available, Held, Sold, Blocked}
