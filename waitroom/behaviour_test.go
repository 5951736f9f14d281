package waitroom_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"testing"
	"time"

	"onsale/internal/fault"
	"onsale/waitroom"
	"onsale/waitroom/pass"
)

// opened is a door with a room, whose shop is well.
func opened(t *testing.T, o waitroom.Options, change func(*waitroom.Settings)) *door {
	t.Helper()
	s := settings()
	if change != nil {
		change(&s)
	}
	d := newDoor(t, s, o)
	if _, err := d.Seed(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return d
}

// standing opens a room in which nobody is let in.
func standing(s *waitroom.Settings) {
	s.Throttle.RatePerMinute, s.Throttle.Burst = 0, 1
	s.State = waitroom.Paused
}

func (d *door) refused(r waitroom.JoinRequest, code fault.Code) *fault.Error {
	d.t.Helper()
	r.Event = event
	_, err := d.Join(d.t.Context(), r)
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != code {
		d.t.Fatalf("Join = %v, want %s", err, code)
	}
	return f
}

func (d *door) invite(lane waitroom.Lane, single bool, emails ...string) []waitroom.Invitation {
	d.t.Helper()
	r := waitroom.InviteRequest{Lane: lane, Emails: emails, SingleUse: single, Expires: time.Now().Add(time.Hour)}
	if len(emails) == 0 {
		r.Count = 1
	}
	list, err := d.Invite(d.t.Context(), event, r)
	if err != nil {
		d.t.Fatal(err)
	}
	return list
}

// solve is the answer to a challenge.
func solve(t *testing.T, f *fault.Error) waitroom.Answer {
	t.Helper()
	return answerTo(t, f, true)
}

// answerTo finds an answer to a refusal's challenge that is right, or one that is
// wrong: any answer to an easy one may be right by chance.
func answerTo(t *testing.T, f *fault.Error, right bool) waitroom.Answer {
	t.Helper()
	p, ok := f.Members["challenge"].(waitroom.Puzzle)
	if !ok || p.Type != waitroom.ChallengePoW {
		t.Fatalf("the refusal carries no challenge: %+v", f.Members)
	}
	for n := 0; ; n++ {
		a := waitroom.Answer{Token: p.Token, Answer: strconv.Itoa(n)}
		sum := sha256.Sum256([]byte(a.Token + ":" + a.Answer))
		zeros := 0
		for _, b := range sum {
			zeros += bits.LeadingZeros8(b)
			if b != 0 {
				break
			}
		}
		if (zeros >= p.Bits) == right {
			return a
		}
	}
}

func TestLanesGoOneBeforeTheOther(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, standing)
	general := d.join(waitroom.JoinRequest{})
	fan := d.join(waitroom.JoinRequest{Invite: d.invite(waitroom.Fan, false)[0].Token})
	access := d.join(waitroom.JoinRequest{Invite: d.invite(waitroom.Accessibility, false)[0].Token})
	staff := d.join(waitroom.JoinRequest{Invite: d.invite(waitroom.Staff, false)[0].Token})
	for i, j := range []waitroom.Joined{staff, access, fan, general} {
		me := d.me(j.Visitor)
		if *me.Ahead != i {
			t.Errorf("%s has %d ahead, want %d", *me.Lane, *me.Ahead, i)
		}
	}
	if *general.Lane != "general" || *staff.Lane != "staff" || *staff.Place != 4 {
		t.Errorf("general %+v, staff %+v", general.Me, staff.Me)
	}
	// An operator moves somebody: the number stays, as if from the beginning.
	v, err := d.SetLane(t.Context(), event, general.Visitor, waitroom.Staff)
	if err != nil || v.Ahead != 0 || v.Place != *general.Place {
		t.Errorf("moved to the staff lane: %+v, %v", v, err)
	}
	_, err = d.SetLane(t.Context(), event, pass.NewVisitor(), waitroom.Staff)
	wantFault(t, err, fault.UnknownVisitor)
}

// A presale takes who is invited; an invitation for a single use is one visitor,
// wherever it is shown, and gives one turn.
func TestInvitations(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, func(s *waitroom.Settings) { s.InviteOnly = true })
	ctx := t.Context()
	d.refused(waitroom.JoinRequest{}, fault.InviteRequired)
	once := d.invite(waitroom.Fan, true)[0].Token
	first := d.join(waitroom.JoinRequest{Invite: once})
	second := d.join(waitroom.JoinRequest{Invite: once}) // another device, without a cookie
	if first.Visitor != second.Visitor || first.VisitorToken == "" || second.VisitorToken == "" || *first.Place != *second.Place {
		t.Errorf("one invitation, two visitors: %+v, %+v", first.Me, second.Me)
	}
	if again := d.join(waitroom.JoinRequest{Visitor: first.Visitor}); again.VisitorToken != "" || again.Visitor != first.Visitor {
		t.Errorf("coming back by cookie: %+v", again)
	}
	d.shopOK()
	d.tick()
	if _, err := d.Claim(ctx, event, first.Visitor); err != nil {
		t.Fatal(err)
	}
	if err := d.Finish(ctx, event, first.Visitor, false); err != nil {
		t.Fatal(err)
	}
	d.refused(waitroom.JoinRequest{Invite: once}, fault.InviteRequired) // its turn was had
	many := d.invite(waitroom.Fan, false)[0].Token
	a, b := d.join(waitroom.JoinRequest{Invite: many}), d.join(waitroom.JoinRequest{Invite: many})
	if a.Visitor == b.Visitor {
		t.Error("an invitation for many is one visitor")
	}

	bound := d.invite(waitroom.Fan, true, "Jo@Example.org")[0].Token
	d.refused(waitroom.JoinRequest{Invite: bound}, fault.InviteInvalid)
	d.refused(waitroom.JoinRequest{Invite: bound, Email: "other@example.org"}, fault.InviteInvalid)
	d.join(waitroom.JoinRequest{Invite: bound, Email: " jo@example.org "})

	lapsed := d.keys.SignInvite(pass.Invite{ID: pass.NewID(), Event: event, Lane: 3, Expires: time.Now().Add(-time.Second)})
	foreign := d.keys.SignInvite(pass.Invite{ID: pass.NewID(), Event: "0190b0a0-0000-7000-8000-000000000002", Lane: 3, Expires: time.Now().Add(time.Hour)})
	forged := pass.Generate().SignInvite(pass.Invite{ID: pass.NewID(), Event: event, Lane: 1, Expires: time.Now().Add(time.Hour)})
	for name, token := range map[string]string{"lapsed": lapsed, "of another event": foreign, "forged": forged, "none": "x"} {
		if _, err := d.Join(ctx, waitroom.JoinRequest{Event: event, Invite: token}); !fault.Is(err, fault.InviteInvalid) {
			t.Errorf("an invitation that is %s: %v", name, err)
		}
	}
	for name, r := range map[string]waitroom.InviteRequest{
		"no lane": {Count: 1, Expires: time.Now().Add(time.Hour)}, "for suspects": {Lane: waitroom.Suspect, Count: 1, Expires: time.Now().Add(time.Hour)},
		"none": {Lane: waitroom.Fan, Expires: time.Now().Add(time.Hour)}, "past": {Lane: waitroom.Fan, Count: 1, Expires: time.Now().Add(-time.Hour)},
		"no address": {Lane: waitroom.Fan, Emails: []string{"jo"}, Expires: time.Now().Add(time.Hour)},
	} {
		_, err := d.Invite(ctx, event, r)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// people is an Identity of tokens that are names.
type people map[string]waitroom.Person

func (p people) Person(_ context.Context, token string) (waitroom.Person, error) {
	person, ok := p[token]
	if !ok {
		return waitroom.Person{}, fault.New(fault.Unauthorized, "unknown")
	}
	return person, nil
}

func TestOneAccountHasOnePlace(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, standing)
	d.refused(waitroom.JoinRequest{UserToken: "jo"}, fault.Invalid) // there is no issuer
	d.Identity = people{
		"jo": {Issuer: "https://login.example", Subject: "1", Email: "jo@example.org"}, "al": {Issuer: "https://login.example", Subject: "2"},
		"other": {Issuer: "https://other.example", Subject: "1"},
	}
	d.Options.SignIn = true
	d.refused(waitroom.JoinRequest{}, fault.SignInRequired)
	d.refused(waitroom.JoinRequest{UserToken: "nobody"}, fault.Unauthorized)
	phone, laptop := d.join(waitroom.JoinRequest{UserToken: "jo"}), d.join(waitroom.JoinRequest{UserToken: "jo"})
	if phone.Visitor != laptop.Visitor || *phone.Place != *laptop.Place {
		t.Errorf("one account has two places: %+v, %+v", phone.Me, laptop.Me)
	}
	seen := map[string]bool{phone.Visitor: true}
	for _, token := range []string{"al", "other"} {
		if j := d.join(waitroom.JoinRequest{UserToken: token}); seen[j.Visitor] {
			t.Errorf("%s has somebody else's place", token)
		}
	}
	// A cookie of somebody else on this device changes nothing.
	if j := d.join(waitroom.JoinRequest{UserToken: "jo", Visitor: pass.NewVisitor()}); j.Visitor != phone.Visitor || j.VisitorToken == "" {
		t.Errorf("%+v", j)
	}
	// The address that the issuer vouches for is the one that counts.
	bound := d.invite(waitroom.Fan, true, "jo@example.org")[0].Token
	d.refused(waitroom.JoinRequest{UserToken: "al", Invite: bound, Email: "x@example.org"}, fault.InviteInvalid)
	d.join(waitroom.JoinRequest{UserToken: "jo", Invite: bound, Email: "x@example.org"})
}

// Two devices share a place; a code is for one of them, once, and makes no second
// place.
func TestHandOver(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, standing)
	ctx := t.Context()
	phone := d.join(waitroom.JoinRequest{})
	h, err := d.HandOver(ctx, event, phone.Visitor)
	if err != nil || len(h.Code) < 20 || time.Until(h.Expires) > 2*time.Minute {
		t.Fatalf("HandOver = %+v, %v", h, err)
	}
	laptop := d.join(waitroom.JoinRequest{Handover: h.Code})
	if laptop.Visitor != phone.Visitor || laptop.VisitorToken == "" || *laptop.Place != *phone.Place {
		t.Errorf("the other device: %+v, want the place of %+v", laptop, phone.Me)
	}
	if room := d.room(); room.Waiting != 1 || room.Joined != 1 {
		t.Errorf("a place was cloned: %+v", room)
	}
	d.refused(waitroom.JoinRequest{Handover: h.Code}, fault.HandoverInvalid)
	d.refused(waitroom.JoinRequest{Handover: "made up"}, fault.HandoverInvalid)
	late, err := d.HandOver(ctx, event, phone.Visitor)
	if err != nil {
		t.Fatal(err)
	}
	d.redis.FastForward(2*time.Minute + time.Second)
	d.refused(waitroom.JoinRequest{Handover: late.Code}, fault.HandoverInvalid)
	_, err = d.HandOver(ctx, event, pass.NewVisitor())
	wantFault(t, err, fault.UnknownVisitor)
	for range 20 {
		if _, err = d.HandOver(ctx, event, phone.Visitor); err != nil {
			break
		}
	}
	wantFault(t, err, fault.TooMany)
	// A place that was left is not handed on by an old code.
	other := d.join(waitroom.JoinRequest{})
	code, err := d.HandOver(ctx, event, other.Visitor)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Leave(ctx, event, other.Visitor); err != nil {
		t.Fatal(err)
	}
	if j := d.join(waitroom.JoinRequest{Handover: code.Code}); *j.Place == *other.Place {
		t.Errorf("the old place is back: %+v", j)
	}
}

// An answer counts once, for its room and its purpose, in time.
func TestChallenge(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{ChallengeBits: 6}, func(s *waitroom.Settings) { standing(s); s.Challenge = waitroom.ChallengePoW })
	puzzle := d.refused(waitroom.JoinRequest{}, fault.ChallengeRequired)
	a := solve(t, puzzle)
	d.refused(waitroom.JoinRequest{Challenge: answerTo(t, puzzle, false)}, fault.ChallengeRequired)
	first := d.join(waitroom.JoinRequest{Challenge: a})
	d.refused(waitroom.JoinRequest{Challenge: a}, fault.ChallengeRequired) // it was used
	if again := d.join(waitroom.JoinRequest{Visitor: first.Visitor}); *again.Place != *first.Place {
		t.Errorf("somebody known is asked again: %+v", again)
	}
	expired := d.keys.SignChallenge(pass.Challenge{ID: pass.NewID(), Event: event, Bits: 6, Purpose: "join", Expires: time.Now().Add(-time.Second)})
	easy := d.keys.SignChallenge(pass.Challenge{ID: pass.NewID(), Event: event, Bits: 1, Purpose: "join", Expires: time.Now().Add(time.Hour)})
	other := d.keys.SignChallenge(pass.Challenge{ID: pass.NewID(), Event: "0190b0a0-0000-7000-8000-000000000002", Bits: 6, Purpose: "join", Expires: time.Now().Add(time.Hour)})
	purpose := d.keys.SignChallenge(pass.Challenge{ID: pass.NewID(), Event: event, Bits: 6, Purpose: "appeal x", Expires: time.Now().Add(time.Hour)})
	for _, token := range []string{expired, easy, other, purpose} {
		d.refused(waitroom.JoinRequest{Challenge: solve(t, fault.New("x", "").With("challenge", waitroom.Puzzle{Type: waitroom.ChallengePoW, Token: token, Bits: 6}))}, fault.ChallengeRequired)
	}
	receipt := *first.Receipt
	d.redis.FlushAll()
	if _, err := d.Seed(t.Context(), waitroom.Settings{Event: event, State: waitroom.Open, Challenge: waitroom.ChallengePoW, Throttle: settings().Throttle}); err != nil {
		t.Fatal(err)
	}
	if back := d.join(waitroom.JoinRequest{Visitor: first.Visitor, Receipt: receipt}); *back.Place != *first.Place {
		t.Errorf("a receipt is asked for a challenge, or has lost its place: %+v", back)
	}
}

// Who joins as many from one network stands behind everybody else, and is told how
// to get out: their number was kept.
func TestSuspectsAppeal(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{Suspicious: 2, JoinsPerMinute: 5, ChallengeBits: 4}, standing)
	ctx := t.Context()
	var many []waitroom.Joined
	for range 5 {
		many = append(many, d.join(waitroom.JoinRequest{Address: "192.0.2.1"}))
	}
	d.refused(waitroom.JoinRequest{Address: "192.0.2.1"}, fault.TooMany)
	other := d.join(waitroom.JoinRequest{Address: "192.0.2.2"})
	if *many[1].Lane != "general" || *many[2].Lane != "suspect" || *other.Lane != "general" || *other.Ahead != 2 {
		t.Errorf("lanes %s, %s, %s with %d ahead", *many[1].Lane, *many[2].Lane, *other.Lane, *other.Ahead)
	}
	if n := d.room().Suspects; n != 3 {
		t.Errorf("%d suspects are counted", n)
	}
	suspect := many[3].Visitor
	_, err := d.Appeal(ctx, event, suspect, waitroom.Answer{})
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || f.Code != fault.ChallengeRequired {
		t.Fatalf("Appeal = %v", err)
	}
	a := solve(t, f)
	_, err = d.Appeal(ctx, event, many[4].Visitor, a)
	wantFault(t, err, fault.ChallengeRequired) // somebody else's answer
	me, err := d.Appeal(ctx, event, suspect, a)
	if err != nil || *me.Lane != "general" || *me.Place != *many[3].Place || *me.Ahead != 2 {
		t.Errorf("Appeal = %+v, %v", me, err)
	}
	_, err = d.Appeal(ctx, event, suspect, a)
	wantFault(t, err, fault.Conflict)
}

// Who missed a turn has one more from the same place, within the grace time, and
// stands at the end after that.
func TestSecondChance(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, func(s *waitroom.Settings) {
		s.Throttle.ClaimWindow, s.Throttle.Grace, s.Throttle.MaxShoppers = 5*time.Second, 10*time.Second, 1
	})
	now := time.Now()
	pass := func(by time.Duration) {
		now = now.Add(by)
		d.redis.SetTime(now)
		d.shopOK()
		d.tick()
	}
	pass(0)
	slow, next, third := d.join(waitroom.JoinRequest{}), d.join(waitroom.JoinRequest{}), d.join(waitroom.JoinRequest{})
	pass(6 * time.Second)
	if a, b := d.state(slow.Visitor), d.state(next.Visitor); a != waitroom.Expired || b != waitroom.Ready {
		t.Fatalf("the turn went from %q to %q", a, b)
	}
	back := d.join(waitroom.JoinRequest{Visitor: slow.Visitor})
	if back.State != waitroom.Waiting || *back.Place != *slow.Place || *back.Ahead != 0 {
		t.Errorf("coming back in time: %+v", back.Me)
	}
	if v, err := d.LookUp(t.Context(), event, third.Visitor); err != nil || v.Ahead != 1 {
		t.Errorf("the one behind: %+v, %v", v, err)
	}
	if err := d.Finish(t.Context(), event, next.Visitor, false); err != nil {
		t.Fatal(err)
	}
	pass(time.Second)
	if state := d.state(slow.Visitor); state != waitroom.Ready {
		t.Fatalf("the second chance is %q", state)
	}
	pass(6 * time.Second)
	last := d.join(waitroom.JoinRequest{Visitor: slow.Visitor})
	if *last.Place != 4 {
		t.Errorf("after the second missed turn: %+v", last.Me)
	}
	pass(6 * time.Second) // third misses too, and comes back too late
	pass(11 * time.Second)
	if late := d.join(waitroom.JoinRequest{Visitor: third.Visitor}); late.Place == nil || *late.Place == *third.Place {
		t.Errorf("coming back after the grace time: %+v", late.Me)
	}
}

// Whose page is closed is passed over, and stands at the front when they come back.
func TestWhoIsAwayIsPassedOver(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, func(s *waitroom.Settings) { s.Throttle.MaxShoppers = 1 })
	ctx := t.Context()
	now := time.Now()
	d.redis.SetTime(now)
	away, brief, there := d.join(waitroom.JoinRequest{}), d.join(waitroom.JoinRequest{}), d.join(waitroom.JoinRequest{})
	if err := d.Gone(ctx, event, []string{away.Visitor, brief.Visitor, pass.NewVisitor()}); err != nil {
		t.Fatal(err)
	}
	if n := d.room().Away; n != 2 {
		t.Errorf("%d are away", n)
	}
	now = now.Add(2 * time.Minute)
	d.redis.SetTime(now)
	if _, err := d.Me(ctx, event, brief.Visitor); err != nil { // polls
		t.Fatal(err)
	}
	d.shopOK()
	d.tick()
	if a, b := d.state(away.Visitor), d.state(brief.Visitor); a != waitroom.Away || b != waitroom.Ready {
		t.Errorf("away %q, back in time %q", a, b)
	}
	me, err := d.Me(ctx, event, away.Visitor)
	if err != nil || me.State != waitroom.Waiting || *me.Place != *away.Place || *me.Ahead != 0 {
		t.Errorf("who comes back: %+v, %v", me, err)
	}
	if v, err := d.LookUp(ctx, event, there.Visitor); err != nil || v.Ahead != 1 {
		t.Errorf("the one behind: %+v, %v", v, err)
	}
}

func TestDrainUpToACutoff(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, standing)
	ctx := t.Context()
	var all []waitroom.Joined
	for range 5 {
		all = append(all, d.join(waitroom.JoinRequest{}))
	}
	fast := 60_000
	if err := errors.Join(d.Configure(ctx, event, waitroom.Patch{Throttle: waitroom.ThrottlePatch{RatePerMinute: &fast, Burst: &fast}}), d.Drain(ctx, event, 3)); err != nil {
		t.Fatal(err)
	}
	d.refused(waitroom.JoinRequest{}, fault.RoomClosed)
	until(t, "the room to drain", func() bool { d.shopOK(); d.tick(); r, _ := d.Store.Room(ctx, event); return r.State == waitroom.Closed })
	for i, j := range all {
		if state := d.state(j.Visitor); (state == waitroom.Ready) != (i < 3) {
			t.Errorf("place %d is %q", i+1, state)
		}
	}
	wantFault(t, d.Drain(ctx, event, -1), fault.Invalid)
}

// An operator lets people in now: beyond the rate, never beyond the cap, and the
// rate pays for it.
func TestAdmitNow(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, func(s *waitroom.Settings) {
		s.State, s.Throttle.RatePerMinute, s.Throttle.Burst, s.Throttle.MaxShoppers = waitroom.Paused, 60, 1, 6
	})
	ctx := t.Context()
	now := time.Now()
	d.redis.SetTime(now)
	for range 20 {
		d.join(waitroom.JoinRequest{})
	}
	if n, err := d.AdmitNow(ctx, event, 4); err != nil || n != 4 {
		t.Fatalf("AdmitNow = %d, %v", n, err)
	}
	if n, err := d.AdmitNow(ctx, event, 100); err != nil || n != 2 {
		t.Errorf("beyond the cap: %d, %v", n, err)
	}
	most := 100
	if err := errors.Join(d.Configure(ctx, event, waitroom.Patch{Throttle: waitroom.ThrottlePatch{MaxShoppers: &most}}), d.Resume(ctx, event)); err != nil {
		t.Fatal(err)
	}
	// One was in the bucket, six were let in: five seconds' worth is owed.
	for second, want := range []int64{6, 6, 6, 6, 6, 6, 7, 8} {
		d.redis.SetTime(now.Add(time.Duration(second) * time.Second))
		d.shopOK()
		d.tick()
		if r, err := d.Store.Room(ctx, event); err != nil || r.Admitted != want {
			t.Errorf("after %d s %d are admitted, %v; want %d", second, r.Admitted, err, want)
		}
	}
	_, err := d.AdmitNow(ctx, event, 0)
	wantFault(t, err, fault.Invalid)
	if err := d.Close(ctx, event, ""); err != nil {
		t.Fatal(err)
	}
	_, err = d.AdmitNow(ctx, event, 1)
	wantFault(t, err, fault.Conflict)
}

// A rate of 0 lets in nobody, whatever the bucket holds.
func TestRateZeroStopsTheLine(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, nil)
	none, some := 0, 60
	set := func(rate int) {
		t.Helper()
		if err := d.Configure(t.Context(), event, waitroom.Patch{Throttle: waitroom.ThrottlePatch{RatePerMinute: &rate}}); err != nil {
			t.Fatal(err)
		}
	}
	set(none)
	d.shopOK()
	j := d.join(waitroom.JoinRequest{})
	d.tick()
	if state, room := d.state(j.Visitor), d.room(); state != waitroom.Waiting || room.Standstill() != waitroom.ReasonStopped {
		t.Errorf("with a rate of 0 the visitor is %q, the line stands for %q", state, room.Standstill())
	}
	set(some)
	until(t, "the line to move again", func() bool { d.tick(); return d.state(j.Visitor) == waitroom.Ready })
}

func TestBypassLetsEverybodyIn(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, func(s *waitroom.Settings) {
		s.Throttle.MaxShoppers, s.Throttle.RatePerMinute = 2, 1
		s.Throttle.Burst = 1
	})
	var ids []string
	for range 1200 {
		ids = append(ids, d.join(waitroom.JoinRequest{}).Visitor)
	}
	yes := true
	if err := d.Configure(t.Context(), event, waitroom.Patch{Bypass: &yes}); err != nil {
		t.Fatal(err)
	}
	until(t, "everybody to be let in", func() bool { d.tick(); return d.state(ids[len(ids)-1]) == waitroom.Ready })
	if j := d.join(waitroom.JoinRequest{}); j.State != waitroom.Ready {
		t.Errorf("a newcomer: %+v", j.Me)
	}
	if me, err := d.Claim(t.Context(), event, ids[0]); err != nil || me.Pass == nil {
		t.Errorf("Claim = %+v, %v", me, err)
	}
}

// The room knows the stock: it says what is unlikely, stands while all is held,
// closes when all is sold, and opens again.
func TestStock(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, func(s *waitroom.Settings) { s.State = waitroom.Paused })
	ctx := t.Context()
	admit := func() {
		t.Helper()
		if _, err := d.Store.Admit(ctx, event, 0); err != nil {
			t.Fatal(err)
		}
	}
	var last waitroom.Joined
	for range 10 {
		last = d.join(waitroom.JoinRequest{})
	}
	stock := func(available, held int) waitroom.Room {
		t.Helper()
		if err := d.ShopOK(ctx, event, available, held, 4); err != nil {
			t.Fatal(err)
		}
		r, err := d.Store.Room(ctx, event)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := stock(5, 3); r.StockLeft != 8 || r.PerBuyer != 4 || !r.Unlikely(9) || r.Unlikely(7) {
		t.Errorf("room %+v", r)
	}
	d.fresh()
	if me := d.me(last.Visitor); me.Chance == nil || *me.Chance != "unlikely" || *me.Room.StockLeft != 8 {
		t.Errorf("the last in line is told %+v", me)
	}
	if err := d.Resume(ctx, event); err != nil {
		t.Fatal(err)
	}
	if r := stock(0, 8); r.Standstill() != waitroom.ReasonAllHeld {
		t.Errorf("all is held: %q", r.Standstill())
	}
	admit()
	if r := stock(2, 6); r.Admitted != 0 || r.Standstill() != "" {
		t.Errorf("%d were admitted to nothing; now %q", r.Admitted, r.Standstill())
	}
	admit()
	if r := stock(2, 6); r.Admitted != 2 {
		t.Errorf("%d were admitted to two tickets", r.Admitted)
	}
	if r := stock(0, 0); r.State != waitroom.Closed || r.ClosedReason != "sold_out" || !r.ByStock {
		t.Errorf("all is sold: %+v", r)
	}
	d.fresh()
	if me := d.me(last.Visitor); me.State != waitroom.ShutOut || me.Chance != nil {
		t.Errorf("the last in line is told %+v", me)
	}
	if r := stock(1, 0); r.State != waitroom.Open || r.ClosedReason != "" {
		t.Errorf("a ticket came back: %+v", r)
	}
	if v, err := d.LookUp(ctx, event, last.Visitor); err != nil || v.State != waitroom.Waiting || v.Place != *last.Place {
		t.Errorf("the last in line: %+v, %v", v, err)
	}
	if err := d.Close(ctx, event, "sold_out"); err != nil {
		t.Fatal(err)
	}
	if r := stock(1, 0); r.State != waitroom.Closed {
		t.Errorf("what an operator closed was opened: %+v", r)
	}
}

// fresh makes the service look at the room again.
func (d *door) fresh() {
	d.t.Helper()
	if err := d.Configure(d.t.Context(), event, waitroom.Patch{}); err != nil {
		d.t.Fatal(err)
	}
}

// With fewer tickets a head the notice comes later, with more it comes sooner.
func TestUnlikelyFollowsWhatPeopleTake(t *testing.T) {
	t.Parallel()
	r := waitroom.Room{StockLeft: 100, StockFirst: 300, Admitted: 100, Settings: waitroom.Settings{State: waitroom.Open}}
	for _, c := range []struct {
		perBuyer int
		sold     int
		ahead    int
		want     bool
	}{
		{6, 200, 49, false}, {6, 200, 50, true}, // two each
		{1, 200, 99, false}, {1, 200, 100, true}, // cannot be more than one each
		{6, 10, 399, false}, {6, 10, 400, true}, // at least a quarter each
	} {
		r.PerBuyer, r.StockFirst = c.perBuyer, 100+c.sold
		if got := r.Unlikely(c.ahead); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	r.StockLeft = -1
	if r.Unlikely(1_000_000) {
		t.Error("unlikely though the stock is not known")
	}
}

func TestWhoPollsTooOftenIsRefused(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, standing)
	j := d.join(waitroom.JoinRequest{})
	now := time.Now()
	d.Service.Now = func() time.Time { return now } // at once, however long it takes
	refused := 0
	var err error
	for range 80 {
		if _, err = d.Me(t.Context(), event, j.Visitor); err == nil {
			continue
		}
		refused++
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.TooMany || f.RetryAfter <= 0 || f.RetryAfter > 15*time.Second {
			t.Fatalf("refused with %v", err)
		}
	}
	if refused < 30 || refused > 50 {
		t.Errorf("%d of 80 polls at once were refused", refused)
	}
	if j2 := d.join(waitroom.JoinRequest{}); j2.State != waitroom.Waiting {
		t.Errorf("somebody else: %+v", j2.Me)
	}
	d.refused(waitroom.JoinRequest{Visitor: j.Visitor}, fault.TooMany) // joining is no way around
	if state := d.state(j.Visitor); state != waitroom.Waiting {
		t.Errorf("the place is %q", state)
	}
}

// What a room does by itself is told to the audit log, with the reason.
func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, func(s *waitroom.Settings) {
		s.State = waitroom.Scheduled
		s.LobbyOpensAt, s.OpensAt = time.Now().Add(time.Minute), time.Now().Add(2*time.Minute)
	})
	ctx := t.Context()
	for _, by := range []time.Duration{0, 61 * time.Second, 121 * time.Second} {
		d.redis.SetTime(time.Now().Add(by))
		d.tick()
	}
	if err := d.ShopOK(ctx, event, 0, 0, 4); err != nil {
		t.Fatal(err)
	}
	if err := d.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Checkpoint(ctx); err != nil { // nothing is told twice
		t.Fatal(err)
	}
	var got []string
	for _, c := range d.archive.changes {
		got = append(got, fmt.Sprintf("%s %s %s", c.Actor, c.Action, c.Detail))
	}
	want := []string{"schedule room.lobby ", "schedule room.open ", "stock room.close sold_out"}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestSettingsThatCannotChangeAnyMore(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, func(s *waitroom.Settings) { s.State = waitroom.Lobby })
	ctx := t.Context()
	order, fifo, source, opens := waitroom.DrawOrder, waitroom.FIFO, "a beacon", time.Now().Add(time.Hour)
	wantFault(t, d.Configure(ctx, event, waitroom.Patch{PublicSource: &source}), fault.Conflict) // nothing is drawn
	if err := d.Configure(ctx, event, waitroom.Patch{Order: &order, PublicSource: &source, OpensAt: &opens}); err != nil {
		t.Fatal(err)
	}
	if r := d.room(); r.Order != waitroom.DrawOrder || r.Draw.PublicSource != source || r.Draw.Commitment() == "" || !r.OpensAt.Equal(opens.Truncate(time.Millisecond)) {
		t.Errorf("room %+v", r)
	}
	d.join(waitroom.JoinRequest{})
	wantFault(t, d.Configure(ctx, event, waitroom.Patch{Order: &fifo}), fault.Conflict)
	if err := d.Open(ctx, event); err != nil {
		t.Fatal(err)
	}
	wantFault(t, d.Configure(ctx, event, waitroom.Patch{OpensAt: &opens}), fault.Conflict)
	wantFault(t, d.Configure(ctx, event, waitroom.Patch{PublicSource: &source}), fault.Conflict)
	wantFault(t, d.OpenLobby(ctx, event), fault.Conflict)
	wrong := waitroom.Order("lifo")
	wantFault(t, d.Configure(ctx, event, waitroom.Patch{Order: &wrong}), fault.Invalid)
}

// The autopilot goes down by a factor when the shop is in trouble, up by steps when
// it is well, within its bounds, and says why; nodes that decide at once make one
// change.
func TestAutopilot(t *testing.T) {
	t.Parallel()
	d := opened(t, waitroom.Options{}, func(s *waitroom.Settings) {
		s.Throttle.RatePerMinute = 1000
		s.Autopilot = waitroom.DefaultAutopilot()
		s.Autopilot.Enabled, s.Autopilot.MinRate = true, 100
	})
	ctx := t.Context()
	now := time.Now()
	well := waitroom.Health{Requests: 100, P95: 100 * time.Millisecond, PoolShare: 0.2}
	after := func(seconds int, h waitroom.Health) waitroom.Room {
		t.Helper()
		now = now.Add(time.Duration(seconds) * time.Second)
		d.redis.SetTime(now)
		d.fresh()
		for _, node := range []string{"one", "two"} {
			if _, err := d.Steer(ctx, node, h); err != nil {
				t.Fatal(err)
			}
		}
		r, err := d.Store.Room(ctx, event)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := after(0, well); r.Rate() != 1000 {
		t.Errorf("a well shop: %d", r.Rate())
	}
	slow := waitroom.Health{Requests: 100, P95: 2 * time.Second}
	if r := after(20, slow); r.Rate() != 700 || r.SteerReason == "" {
		t.Errorf("a slow shop: %d, %q", r.Rate(), r.SteerReason)
	}
	if r := after(1, slow); r.Rate() != 700 {
		t.Errorf("too soon after: %d", r.Rate())
	}
	if r := after(20, waitroom.Health{Requests: 5, P95: time.Minute, ErrorShare: 1}); r.Rate() != 750 {
		t.Errorf("a handful of requests says nothing: %d", r.Rate())
	}
	for _, bad := range []waitroom.Health{{Requests: 100, ErrorShare: 0.1}, {PoolShare: 0.99}, slow} {
		last := after(0, well)
		before := last.Rate()
		if r := after(20, bad); r.Rate() != max(int(float64(before)*0.7), 100) {
			t.Errorf("%+v: %d after %d", bad, r.Rate(), before)
		}
	}
	for range 10 {
		after(20, slow)
	}
	if r := after(20, slow); r.Rate() != 100 {
		t.Errorf("below its bound: %d", r.Rate())
	}
	for range 30 {
		after(20, well)
	}
	if r := after(20, well); r.Rate() != 1000 {
		t.Errorf("above the operator's rate, or never back: %d", r.Rate())
	}
	if err := d.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, c := range d.archive.changes {
		if c.Actor == "autopilot" && c.Detail != "" {
			told++
		}
	}
	if told < 20 {
		t.Errorf("%d changes were told", told)
	}
	if why, critical := (waitroom.Health{Requests: 100, ErrorShare: 0.6}).Critical(); !critical || why == "" {
		t.Error("a shop that fails is not critical")
	}
	if _, critical := (waitroom.Health{Requests: 3, ErrorShare: 1}).Critical(); critical {
		t.Error("three errors are critical")
	}
}

// The support desk is told where everybody is.
func TestExplain(t *testing.T) {
	t.Parallel()
	now := time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC)
	r := &waitroom.Room{StockLeft: -1, ShopOK: true, AsOf: now, Settings: waitroom.Settings{State: waitroom.Paused, Throttle: settings().Throttle}}
	r.Throttle.Grace = time.Minute
	seen := make(map[string]bool)
	for _, v := range []waitroom.Visitor{
		{State: waitroom.InLobby, Index: 3, Lane: waitroom.General}, {State: waitroom.Waiting, Place: 7, Ahead: 2, Lane: waitroom.Fan, Missed: 1, Gone: now},
		{State: waitroom.Away, Place: 7}, {State: waitroom.Ready, Until: now}, {State: waitroom.Shopping, Until: now}, {State: waitroom.Done}, {State: waitroom.Left},
		{State: waitroom.Expired, Claimed: now, Until: now}, {State: waitroom.Expired, Missed: 1, Until: now}, {State: waitroom.Expired, Missed: 2, Until: now}, {},
	} {
		text := r.Explain(&v)
		if text == "" || seen[text] {
			t.Errorf("%+v: %q", v, text)
		}
		seen[text] = true
	}
}
