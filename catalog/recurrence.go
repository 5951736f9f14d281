package catalog

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/teambition/rrule-go"
)

// Bounds of a recurrence: what it takes to find its dates is bounded by them, too.
const (
	mostDates    = 366
	mostYears    = 10 // from the first date to the last
	mostInterval = 1000
)

// recurrenceParts are the parts of a rule (RFC 5545, section 3.3.10) that are taken.
// Parts of a day are not: what is played twice a day has a list of its dates.
var recurrenceParts = []string{
	"FREQ", "COUNT", "UNTIL", "INTERVAL", "BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYMONTH", "BYSETPOS", "WKST",
}

// recur lists the dates of an RFC 5545 rule, of which start is the first. The rule is
// counted by the clocks of the place, so that half past seven stays half past seven
// whatever the time of the year. The error says what is wrong with the rule.
func recur(rule string, start time.Time, place *time.Location) ([]time.Time, error) {
	rule = strings.TrimPrefix(strings.ToUpper(rule), "RRULE:")
	given := make(map[string]string)
	for part := range strings.SplitSeq(rule, ";") {
		key, value, _ := strings.Cut(part, "=")
		if !slices.Contains(recurrenceParts, key) {
			return nil, fmt.Errorf("the part %q is not known; known are %s", clip(key), strings.Join(recurrenceParts, ", "))
		}
		if _, twice := given[key]; twice {
			return nil, fmt.Errorf("the part %s stands twice", key)
		}
		given[key] = value
	}
	switch given["FREQ"] {
	case "DAILY", "WEEKLY", "MONTHLY", "YEARLY":
	default:
		return nil, fmt.Errorf("FREQ must be DAILY, WEEKLY, MONTHLY or YEARLY")
	}
	if (given["COUNT"] == "") == (given["UNTIL"] == "") {
		return nil, fmt.Errorf("either COUNT or UNTIL must say where it ends")
	}
	how, err := rrule.StrToROption(rule)
	if err != nil {
		return nil, fmt.Errorf("is not a rule such as FREQ=WEEKLY;BYDAY=FR,SA;COUNT=10: %s", clip(err.Error()))
	}
	if given["COUNT"] != "" && (how.Count < 1 || how.Count > mostDates) {
		return nil, fmt.Errorf("COUNT must be from 1 to %d", mostDates)
	}
	if given["INTERVAL"] != "" && (how.Interval < 1 || how.Interval > mostInterval) {
		return nil, fmt.Errorf("INTERVAL must be from 1 to %d", mostInterval)
	}
	// The library counts in UTC, as if that were the time of the place.
	how.Dtstart = onTheClock(start, place)
	furthest := how.Dtstart.AddDate(mostYears, 0, 0)
	switch until := given["UNTIL"]; {
	case until == "":
		how.Until = furthest
	case len(until) == len(rrule.DateFormat): // that day, too
		how.Until = how.Until.AddDate(0, 0, 1).Add(-time.Second)
	case strings.HasSuffix(until, "Z"):
		how.Until = onTheClock(how.Until, place)
	}
	if how.Until.After(furthest) {
		return nil, fmt.Errorf("UNTIL is more than %d years after the start", mostYears)
	}
	r, err := rrule.NewRRule(*how)
	if err != nil {
		return nil, fmt.Errorf("is not a rule such as FREQ=WEEKLY;BYDAY=FR,SA;COUNT=10: %s", clip(err.Error()))
	}
	var dates []time.Time
	for next := r.Iterator(); ; {
		t, more := next()
		if !more {
			break
		}
		if len(dates) == mostDates {
			return nil, fmt.Errorf("has more than %d dates", mostDates)
		}
		dates = append(dates, atTheClock(t, place))
	}
	switch {
	case len(dates) == 0:
		return nil, fmt.Errorf("has no date from starts_at on")
	case !onTheClock(dates[0], place).Equal(how.Dtstart):
		return nil, fmt.Errorf("starts_at is none of its dates, the first of which is %s", dates[0].In(place).Format("2006-01-02T15:04"))
	case given["COUNT"] != "" && len(dates) < how.Count:
		return nil, fmt.Errorf("needs more than %d years for its %d dates", mostYears, how.Count)
	}
	return dates, nil
}

// onTheClock is what the clocks of a place show at t, as a time in UTC.
func onTheClock(t time.Time, place *time.Location) time.Time {
	t = t.In(place)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// atTheClock is when the clocks of a place show a time, which is given in UTC. What
// they show twice is the first of both; what they leave out counts by the time of
// before (RFC 5545, section 3.3.5), so that half past two becomes half past three.
func atTheClock(shown time.Time, place *time.Location) time.Time {
	_, before := shown.Add(-24 * time.Hour).In(place).Zone()
	_, after := shown.Add(24 * time.Hour).In(place).Zone()
	first := shown.Add(-time.Duration(before) * time.Second).In(place)
	second := shown.Add(-time.Duration(after) * time.Second).In(place)
	if !onTheClock(first, place).Equal(shown) && onTheClock(second, place).Equal(shown) {
		return second
	}
	return first
}
