package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"onsale/waitroom"
)

// Report is what came of a simulated sale. Times are whole seconds.
type Report struct {
	Options Options  `json:"options"`
	Minutes []Minute `json:"minutes"`

	Lasted      int      `json:"lasted_s"`     // from the opening until nobody waited or shopped
	SoldOut     *int     `json:"sold_out_s"`   // after the opening; null: it was not
	Admitted    int      `json:"admitted"`     // turns
	Claimed     int      `json:"claimed"`      // …
	Missed      int      `json:"missed"`       // turns that nobody claimed
	Buyers      int      `json:"buyers"`       //
	Sold        int      `json:"sold"`         // tickets
	LeftWithout int      `json:"left_without"` // shoppers who did not buy
	NothingLeft int      `json:"nothing_left"` // … of whom found no ticket
	Lapsed      int      `json:"lapsed"`       // shoppers whose lease ended before they were done
	InVain      int      `json:"in_vain"`      // waited, and had no turn
	TurnedAway  int      `json:"turned_away"`  // came when the room was closed
	Waits       Spread   `json:"waits"`
	Estimate    Estimate `json:"estimate"`
	Checks      []Check  `json:"checks"`

	Took time.Duration `json:"-"` // in real time

	asked []asked
}

// Minute is the sale at one moment.
type Minute struct {
	At       int            `json:"at_s"` // since the opening
	State    waitroom.State `json:"state"`
	Waiting  int            `json:"waiting"` // or in the lobby
	Ready    int            `json:"ready"`
	Shopping int            `json:"shopping"`
	Admitted int            `json:"admitted"` // so far
	Sold     int            `json:"sold"`     // so far
}

// Spread is how long people waited: so many of them no longer than that.
type Spread struct {
	Quarter       int `json:"quarter_s"`
	Half          int `json:"half_s"`
	ThreeQuarters int `json:"three_quarters_s"`
	Nine          int `json:"nine_in_ten_s"`
	All           int `json:"all_s"`
}

func spreadOf(seconds []int) Spread {
	if len(seconds) == 0 {
		return Spread{}
	}
	slices.Sort(seconds)
	at := func(share float64) int { return seconds[max(0, int(math.Ceil(share*float64(len(seconds))))-1)] }
	return Spread{at(0.25), at(0.5), at(0.75), at(0.9), at(1)}
}

// Estimate is how good the wait was that pages showed, asked at any time of anybody.
type Estimate struct {
	Asked    int     `json:"asked"`
	Unknown  int     `json:"unknown"`  // were told nothing
	Earlier  float64 `json:"earlier"`  // share of those who had a good chance, were told a wait and let in, whose turn came before it,
	Within   float64 `json:"within"`   // … in it,
	Later    float64 `json:"later"`    // … after it
	Error    float64 `json:"error"`    // half of them found the middle of it off by this share of the wait, or less
	Unlikely int     `json:"unlikely"` // were told that their chance is poor,
	Lucky    int     `json:"lucky"`    // … and had a turn nevertheless
	InVain   int     `json:"in_vain"`  // were told nothing of the kind, and had none
}

// asked is what one page said.
type asked struct {
	who      int32
	second   int32
	wait     *waitroom.Wait
	unlikely bool
}

func (s *sale) estimates() Estimate {
	e := Estimate{Asked: len(s.report.asked)}
	var told, earlier, later int
	var off []float64
	for _, a := range s.report.asked {
		admitted := s.people[a.who].admitted
		switch {
		case a.unlikely:
			e.Unlikely++
			if admitted >= 0 {
				e.Lucky++
			}
		case admitted < 0:
			e.InVain++
		}
		if a.wait == nil {
			e.Unknown++
			continue
		}
		if admitted < 0 || a.unlikely {
			continue
		}
		told++
		waited := int(admitted - a.second)
		switch {
		case waited < a.wait.Low:
			earlier++
		case waited > a.wait.High:
			later++
		}
		middle := float64(a.wait.Low+a.wait.High) / 2
		off = append(off, math.Abs(middle-float64(waited))/float64(max(1, waited)))
	}
	if told == 0 {
		return e
	}
	e.Earlier, e.Later = float64(earlier)/float64(told), float64(later)/float64(told)
	e.Within = 1 - e.Earlier - e.Later
	slices.Sort(off)
	e.Error = off[len(off)/2]
	return e
}

// Err names the checks that did not hold.
func (r *Report) Err() error {
	var err error
	for _, c := range r.Checks {
		if !c.Holds {
			err = errors.Join(err, fmt.Errorf("%s: %s", c.Name, c.Detail))
		}
	}
	return err
}

// mostLines of the sale's course are printed.
const mostLines = 24

// Write prints the sale for people.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	o := r.Options
	fmt.Fprintf(&b, "%d people for %d tickets; at most %d turns a minute and %d shoppers; seed %d\n\n",
		o.Visitors, o.Tickets, o.Throttle.RatePerMinute, o.Throttle.MaxShoppers, o.Seed)
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "since opening\tstate\twaiting\tturn\tshopping\tlet in\tsold\t")
	every := (len(r.Minutes) + mostLines - 1) / mostLines
	for i, m := range r.Minutes {
		if last := i == len(r.Minutes)-1; i%every == 0 || last {
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t\n", clockTime(m.At), m.State, m.Waiting, m.Ready, m.Shopping, m.Admitted, m.Sold)
		}
	}
	_ = t.Flush() // into b
	b.WriteByte('\n')
	switch {
	case r.SoldOut != nil:
		fmt.Fprintf(&b, "Sold out %s after the opening; ", clockTime(*r.SoldOut))
	default:
		fmt.Fprintf(&b, "Over %s after the opening; ", clockTime(r.Lasted))
	}
	fmt.Fprintf(&b, "%d tickets to %d buyers.\n", r.Sold, r.Buyers)
	fmt.Fprintf(&b, "Turns: %d, %d of them missed. Left without a ticket: %d (%d found none), %d ran out of time. In vain: %d waited, %d came too late.\n",
		r.Admitted, r.Missed, r.LeftWithout, r.NothingLeft, r.Lapsed, r.InVain, r.TurnedAway)
	fmt.Fprintf(&b, "Waits until a turn: a quarter within %s, half %s, three quarters %s, nine in ten %s, all %s.\n",
		clockTime(r.Waits.Quarter), clockTime(r.Waits.Half), clockTime(r.Waits.ThreeQuarters), clockTime(r.Waits.Nine), clockTime(r.Waits.All))
	e := r.Estimate
	fmt.Fprintf(&b, "What pages said, %d times: %s within their range, %s earlier, %s later; half off by %s or less; unknown %d times.\n",
		e.Asked, percent(e.Within), percent(e.Earlier), percent(e.Later), percent(e.Error), e.Unknown)
	fmt.Fprintf(&b, "Told that their chance is poor: %d, %d of them had a turn. Not told, and had none: %d.\n\n", e.Unlikely, e.Lucky, e.InVain)
	for _, c := range r.Checks {
		mark := "holds"
		if !c.Holds {
			mark = "DOES NOT HOLD"
		}
		fmt.Fprintf(&b, "%s: %s (%s)\n", c.Name, mark, c.Detail)
	}
	fmt.Fprintf(&b, "\n%s of the sale took %s.\n", clockTime(r.Lasted+int(o.Lobby/step)), r.Took.Round(100*time.Millisecond))
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", share*100) }

// clockTime is h:mm:ss, with a sign before the opening.
func clockTime(seconds int) string {
	sign := ""
	if seconds < 0 {
		sign, seconds = "-", -seconds
	}
	return fmt.Sprintf("%s%d:%02d:%02d", sign, seconds/3600, seconds/60%60, seconds%60)
}
