package waitroom

import (
	"fmt"
	"time"
)

var standstills = map[Reason]string{
	ReasonPaused:    "the line is paused",
	ReasonShopDown:  "the shop does not answer",
	ReasonSoldOut:   "everything is sold",
	ReasonAllHeld:   "all tickets left are in somebody's hands",
	ReasonFull:      "the shop is full",
	ReasonDraw:      "places are being drawn",
	ReasonRestoring: "those who lost their connection come back first",
	ReasonStopped:   "the rate is 0",
	ReasonClosed:    "the room is closed",
}

// Explain says in a sentence where a visitor is, and why, for the support desk.
func (r *Room) Explain(v *Visitor) string {
	clock := func(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }
	lane := ""
	if v.Lane != General && v.Lane != NoLane {
		lane = fmt.Sprintf(" in lane %s", v.Lane)
	}
	switch v.State {
	case InLobby:
		if r.Moving {
			return "Gathered in the lobby; their place is being brought to them."
		}
		return fmt.Sprintf("Gathered in the lobby%s as number %d; places are given at the opening.", lane, v.Index)
	case Waiting:
		text := fmt.Sprintf("Waits%s at place %d with %d ahead", lane, v.Place, v.Ahead)
		if v.Missed > 0 {
			text += ", for a second chance after a turn that was not claimed"
		}
		if !v.Gone.IsZero() {
			text += fmt.Sprintf("; no connection since %s, so that a turn may pass them by until they come back", clock(v.Gone))
		}
		if reason := r.Standstill(); reason != "" {
			text += "; nobody is let in right now: " + standstills[reason]
		}
		return text + "."
	case Away:
		return fmt.Sprintf("Their turn came while no page of theirs was connected; place %d is kept, and theirs as soon as they come back.", v.Place)
	case Ready:
		return fmt.Sprintf("It is their turn since %s; they have not entered yet and can until %s.", clock(v.Admitted), clock(v.Until))
	case Shopping:
		return fmt.Sprintf("In the shop since %s, until %s.", clock(v.Claimed), clock(v.Until))
	case Done:
		return "Bought, or gave the turn back; a new join stands at the end of the line."
	case Left:
		return "Left by themselves; a new join stands at the end of the line."
	case Expired:
		switch {
		case !v.Claimed.IsZero():
			return fmt.Sprintf("Their time in the shop was over at %s; a new join stands at the end of the line.", clock(v.Until))
		case v.Missed <= 1 && r.AsOf.Before(v.Until.Add(r.Throttle.Grace)):
			return fmt.Sprintf("Did not enter before %s; joining again before %s gives the turn a second time.", clock(v.Until), clock(v.Until.Add(r.Throttle.Grace)))
		}
		return fmt.Sprintf("Did not enter before %s; a new join stands at the end of the line.", clock(v.Until))
	}
	return "Not known in this room."
}
