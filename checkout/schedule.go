package checkout

import (
	"context"
	"time"
	"unicode/utf8"

	"onsale/internal/fault"
)

// Rescheduling puts an event on sale or takes it off for a while, and says when it
// takes place.
type Rescheduling struct {
	Event    string
	To       string     // on_sale or postponed
	StartsAt *time.Time // nil: as it is; the doors then keep their distance
	DoorsAt  *time.Time
	Message  string // for those who have tickets
}

// Rescheduled is what came of it.
type Rescheduled struct {
	Was     string // its status
	Changed bool   // false: it was so already
	Told    int    // e-mails to those who have tickets
}

const mostNotice = 500 // characters

// Check says what is wrong with it by itself, as fault.Invalid.
func (r *Rescheduling) Check() error {
	for name, at := range map[string]*time.Time{"starts_at": r.StartsAt, "doors_at": r.DoorsAt} {
		if at != nil && (at.Year() < 2000 || at.Year() > 2200) {
			return fault.New(fault.Invalid, "%s is not a plausible year", name)
		}
	}
	if r.StartsAt != nil && r.DoorsAt != nil && r.DoorsAt.After(*r.StartsAt) {
		return fault.New(fault.Invalid, "doors_at is after starts_at")
	}
	if utf8.RuneCountInString(r.Message) > mostNotice {
		return fault.New(fault.Invalid, "message is longer than %d characters", mostNotice)
	}
	return nil
}

// MayReschedule refuses, as Conflict, what an event of this status cannot do. moved is
// whether its times would be others.
func MayReschedule(from, to string, moved bool) error {
	switch {
	case from == "cancelled":
		return fault.New(fault.Conflict, "the event is cancelled, and its buyers are given their money back: that is for good")
	case from == "ended":
		return fault.New(fault.Conflict, "the event has ended")
	case to == "postponed" && from == "draft":
		return fault.New(fault.Conflict, "the event is a draft: nobody knows of it who would have to be told")
	case to == "on_sale" && from == "on_sale" && moved:
		return fault.New(fault.Conflict, "the event is on sale at another time; postpone it first, so that those who have tickets are told")
	}
	return nil
}

// Reschedule puts an event on sale or postpones it, and tells those who have tickets,
// once for each change. What was so already changes nothing and tells nobody.
func (s *Service) Reschedule(ctx context.Context, r Rescheduling) (Rescheduled, error) {
	if err := r.Check(); err != nil {
		return Rescheduled{}, err
	}
	return s.orders.Reschedule(ctx, r)
}

// HoldsLast is how long a hold may live at most: that of a page which asks for more time
// again and again.
func (s *Service) HoldsLast() time.Duration {
	return s.opts.HoldTTL*time.Duration(1+s.opts.MaxExtensions) + time.Minute
}
