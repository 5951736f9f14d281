package waitroom

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/bits"
	"net/netip"
	"strings"
	"time"

	"onsale/internal/fault"
	"onsale/waitroom/pass"
)

// Identity knows the people of the site that sells, by the tokens it gives them.
type Identity interface {
	// Person verifies a user token. It returns fault.Unauthorized, and
	// fault.Unavailable when the issuer's keys cannot be had.
	Person(ctx context.Context, token string) (Person, error)
}

// Person is whom a user token was made for.
type Person struct {
	Issuer  string
	Subject string
	Email   string // verified by the issuer; "" when it says nothing
}

// Visitor is the visitor that this person is, in every room.
func (p *Person) Visitor(keys *pass.KeySet) string { return keys.Derive("user", p.Issuer, p.Subject) }

// JoinRequest is who wants to join a room, and what they show.
type JoinRequest struct {
	Event     string
	Visitor   string // whose token was shown; "" makes a new visitor
	Receipt   string // of a place they had; "" for none
	Pass      string // of a turn they have; "" for none
	Handover  string // code from another device
	Invite    string
	Email     string // for an invite that is bound to one
	UserToken string
	Session   string // of an account; counts where users have to be signed in
	Challenge Answer
	Address   string // IP address they come from; "" is never limited
}

// Answer is the answer to a challenge. For a proof of work, the SHA-256 of
// token, ":" and answer begins with as many zero bits as the token says.
type Answer struct {
	Token  string `json:"token"`
	Answer string `json:"answer"`
}

// Puzzle is a challenge as visitors are told it.
type Puzzle struct {
	Type  Challenge `json:"type"`
	Token string    `json:"token"`
	Bits  int       `json:"bits"`
}

const (
	challengeLife  = 10 * time.Minute
	appealBits     = 3 // an appeal costs that many more bits
	handoverLife   = 2 * time.Minute
	handoversAHour = 10
	mostAnswer     = 32 // characters
	joinPurpose    = "join"
	appealPurpose  = "appeal "
)

// Join gives a visitor a place in the room, or finds the one they have. A
// visitor is whoever the hand-over code, the invitation for one person, the user
// token, the visitor token, the session (where users have to be signed in) or the
// receipt says, in this order, and else somebody new. A receipt or pass that does not verify is ignored: it is a help, not a
// demand. It returns fault.NotFound, RoomClosed, TooMany, Unavailable,
// SignInRequired, Unauthorized, InviteRequired, InviteInvalid, HandoverInvalid,
// and ChallengeRequired with a Puzzle.
func (s *Service) Join(ctx context.Context, r JoinRequest) (Joined, error) {
	joined, v, err := s.joinAs(ctx, &r, s.polled)
	if err != nil {
		return Joined{}, err
	}
	if joined.VisitorToken != "" {
		s.came.joined(r.Event, &v, s.Now())
	} else {
		s.polls.told(r.Event, v.ID, time.Duration(joined.PollAfter)*time.Millisecond)
	}
	return joined, nil
}

// Arrive is Join for somebody who joins by the connection over which they will be
// told where they stand: they do not poll, and the caller follows the visitor as
// the join left them.
func (s *Service) Arrive(ctx context.Context, r JoinRequest) (Joined, Visitor, error) {
	return s.joinAs(ctx, &r, func(string, string) error { return nil })
}

// joinAs joins. asks says whether somebody who comes with a token may ask again
// by now.
func (s *Service) joinAs(ctx context.Context, r *JoinRequest, asks func(event, visitor string) error) (Joined, Visitor, error) {
	j := Join{Visitor: r.Visitor, PerAddress: s.Options.JoinsPerMinute, Suspicious: s.Options.Suspicious}
	if err := s.identify(ctx, r, &j); err != nil {
		return Joined{}, Visitor{}, err
	}
	if err := s.recall(ctx, r, &j); err != nil {
		return Joined{}, Visitor{}, err
	}
	if r.Challenge.Token != "" {
		nonce, err := s.solved(r, joinPurpose, s.Options.ChallengeBits)
		if err != nil {
			return Joined{}, Visitor{}, err
		}
		j.Nonce = nonce
	}
	if j.Visitor == "" {
		j.Visitor = pass.NewVisitor()
		j.Fresh = j.Invited == NotInvited && j.Nonce == ""
	}
	if !pass.ValidVisitor(j.Visitor) {
		return Joined{}, Visitor{}, fault.New(fault.Unauthorized, "the visitor's id is not valid")
	}
	if r.Visitor != "" && r.Visitor == j.Visitor {
		if err := asks(r.Event, j.Visitor); err != nil {
			return Joined{}, Visitor{}, err
		}
	}
	if r.Address == "" {
		j.PerAddress, j.Suspicious = 0, 0
	}
	if j.PerAddress > 0 || j.Suspicious > 0 {
		j.Address = s.Keys.Pseudonym(Network(r.Address))
	}
	v, outcome, err := s.join(ctx, r.Event, j)
	if err != nil {
		return Joined{}, Visitor{}, s.refused(r.Event, err)
	}
	s.metrics.joined(outcome, v.Lane)
	if outcome == Placed && v.State == Ready {
		s.admitted(Admission{Event: r.Event, At: v.Admitted, Count: 1, Cursor: v.Place})
	}
	me, err := s.me(ctx, r.Event, v)
	if err != nil {
		return Joined{}, Visitor{}, err
	}
	joined := Joined{Me: me}
	if j.Visitor != r.Visitor {
		joined.VisitorToken = s.Keys.SignVisitor(v.ID, s.Now().Add(s.Options.VisitorToken))
	}
	return joined, v, nil
}

// identify says who joins, where something says it, and by which invitation.
func (s *Service) identify(ctx context.Context, r *JoinRequest, j *Join) error {
	var person Person
	switch {
	case r.UserToken != "" && s.Identity == nil:
		return fault.New(fault.Invalid, "field \"user_token\": this site has no identity issuer")
	case r.UserToken != "":
		var err error
		if person, err = s.Identity.Person(ctx, r.UserToken); err != nil {
			return err
		}
		j.Visitor = person.Visitor(s.Keys)
	case s.Options.SignIn && r.Visitor == "" && r.Session != "":
		// Neither the store of accounts nor the issuer is asked: this is the rush. A
		// session that says nothing of the issuer is none here.
		if session, err := s.Keys.Session(r.Session, s.Now()); err == nil {
			j.Visitor = session.User
		}
	}
	known := j.Visitor != ""
	if r.Invite != "" {
		i, err := s.Keys.Invite(r.Invite, r.Event, s.Now())
		if err != nil {
			return fault.Wrap(err, fault.InviteInvalid, "this invitation is not valid for this event, or not any more")
		}
		email := r.Email
		if person.Email != "" {
			email = person.Email
		}
		if i.Email != "" && i.Email != pass.BindEmail(i.ID, email) {
			return fault.New(fault.InviteInvalid, "this invitation was made for another e-mail address; give the one it was sent to")
		}
		j.Lane, j.Invited = Lane(i.Lane), InvitedOften
		if i.SingleUse {
			j.Invited = InvitedOnce
			j.Visitor = s.Keys.Derive("invite", r.Event, i.ID)
		}
	}
	if r.Handover != "" {
		visitor, err := s.Store.TakeHandover(ctx, r.Event, digest(r.Handover))
		if err != nil {
			return err
		}
		j.Visitor = visitor
	}
	if s.Options.SignIn && !known && r.Handover == "" {
		return fault.New(fault.SignInRequired, "this waiting room is for those who are signed in; send their user_token, or sign in at the issuer")
	}
	return nil
}

// recall takes in what proves a place or a turn that the store may have lost.
func (s *Service) recall(ctx context.Context, r *JoinRequest, j *Join) error {
	if r.Receipt != "" {
		receipt, err := s.Keys.Receipt(r.Receipt, r.Event)
		if err == nil && (j.Visitor == "" || j.Visitor == receipt.Visitor) && (!s.Options.SignIn || j.Visitor != "") {
			j.Visitor = receipt.Visitor
			j.Place, j.Index, j.ReceiptLane, j.Epoch = receipt.Place, receipt.Index, Lane(receipt.Lane), receipt.Epoch
			if j.ReceiptLane == NoLane {
				j.ReceiptLane = General
			}
		}
	}
	if r.Pass != "" && j.Visitor != "" {
		if p, err := s.Keys.Pass(r.Pass, r.Event, s.Now()); err == nil && p.Visitor == j.Visitor {
			j.Claimed, j.Lease = p.Claimed, p.Expires
		}
	}
	if j.Place == 0 && j.Index > 0 {
		// Of a lobby that has become a line: its place follows from the index.
		room, err := s.Room(ctx, r.Event)
		if err != nil {
			return err
		}
		if room.Draw.Drawn() && !room.Moving && j.Index <= room.Draw.N && room.Epoch == j.Epoch {
			place, err := room.Draw.placing(room.Order)
			if err != nil {
				return err
			}
			j.Place = place(j.Index)
		}
	}
	return nil
}

// join joins, once more after rebuilding the room if the store has lost it.
func (s *Service) join(ctx context.Context, event string, j Join) (Visitor, Outcome, error) {
	v, outcome, err := s.Store.Join(ctx, event, j)
	if fault.Is(err, fault.NotFound) && s.Archive != nil {
		if again := s.rebuild(ctx, event); again != nil {
			return Visitor{}, 0, again
		}
		return s.Store.Join(ctx, event, j)
	}
	return v, outcome, err
}

// refused counts a join that was refused, and sets a new challenge where one is
// needed.
func (s *Service) refused(event string, err error) error {
	code := fault.CodeOf(err)
	switch code {
	case fault.TooMany, fault.InviteRequired, fault.ChallengeRequired, fault.RoomClosed:
		s.metrics.refused.WithLabelValues(string(code)).Inc()
	}
	if code == fault.ChallengeRequired {
		return s.challenge(event, joinPurpose, s.Options.ChallengeBits)
	}
	return err
}

// challenge is the fault that asks for an answer.
func (s *Service) challenge(event, purpose string, bits int) error {
	s.metrics.challenges.WithLabelValues("set").Inc()
	token := s.Keys.SignChallenge(pass.Challenge{
		ID: pass.NewID(), Event: event, Bits: bits, Purpose: purpose, Expires: s.Now().Add(challengeLife),
	})
	return fault.New(fault.ChallengeRequired, "your device has to show that it is one of few: solve the challenge and send the answer with the same request").
		With("challenge", Puzzle{Type: ChallengePoW, Token: token, Bits: bits})
}

// solved checks the answer to a challenge and returns the challenge's name,
// which may be used once.
func (s *Service) solved(r *JoinRequest, purpose string, least int) (nonce string, err error) {
	c, err := s.Keys.Challenge(r.Challenge.Token, r.Event, s.Now())
	if err != nil || c.Purpose != purpose || c.Bits < least || !proves(r.Challenge, c.Bits) {
		s.metrics.challenges.WithLabelValues("failed").Inc()
		return "", s.challenge(r.Event, purpose, least)
	}
	s.metrics.challenges.WithLabelValues("solved").Inc()
	return c.ID, nil
}

// proves reports whether an answer's hash begins with so many zero bits.
func proves(a Answer, want int) bool {
	if len(a.Answer) > mostAnswer {
		return false
	}
	sum := sha256.Sum256([]byte(a.Token + ":" + a.Answer))
	zeros := 0
	for _, b := range sum {
		zeros += bits.LeadingZeros8(b)
		if b != 0 {
			break
		}
	}
	return zeros >= want
}

// Appeal moves somebody from the suspect lane to the general one, at their place,
// for a proof of work that is harder than a join's. It returns
// fault.ChallengeRequired with a Puzzle, Conflict for somebody who is not
// suspect, UnknownVisitor, NotFound and Unavailable.
func (s *Service) Appeal(ctx context.Context, event, visitor string, a Answer) (Me, error) {
	v, err := s.Present(ctx, event, visitor)
	if err != nil {
		return Me{}, err
	}
	if v.Lane != Suspect || v.State != Waiting && v.State != InLobby {
		return Me{}, fault.New(fault.Conflict, "you are not suspected of anything").With("state", v.State)
	}
	purpose := appealPurpose + visitor // whose it is, so that it cannot be used for another
	if _, err := s.solved(&JoinRequest{Event: event, Challenge: a}, purpose, s.Options.ChallengeBits+appealBits); err != nil {
		return Me{}, err
	}
	if _, err = s.Store.SetLane(ctx, event, visitor, General, Suspect); err != nil {
		return Me{}, err
	}
	s.metrics.appeals.Inc()
	return s.about(ctx, event, visitor, s.Present)
}

// Handover is a code with which another device becomes the same visitor.
type Handover struct {
	Code    string
	Expires time.Time
}

// HandOver makes a code for another device: it can be used once, within two
// minutes. Both devices are then one visitor with one place. It returns
// fault.TooMany, UnknownVisitor, NotFound and Unavailable.
func (s *Service) HandOver(ctx context.Context, event, visitor string) (Handover, error) {
	if _, err := s.Present(ctx, event, visitor); err != nil {
		return Handover{}, err
	}
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	h := Handover{Code: base64.RawURLEncoding.EncodeToString(b[:]), Expires: s.Now().Add(handoverLife)}
	return h, s.Store.PutHandover(ctx, event, digest(h.Code), visitor, handoverLife, handoversAHour)
}

func digest(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

// Invitation is a signed invitation and whom it is for.
type Invitation struct {
	Token string
	Email string // "" for whoever has it
	Lane  Lane
}

// InviteRequest asks for invitations: Count of them for anybody, or one for each
// of Emails.
type InviteRequest struct {
	Lane      Lane
	Count     int // 1 … 10,000
	Emails    []string
	SingleUse bool
	Expires   time.Time
}

const mostInvites = 10_000

// Invite signs invitations for a room. Nothing is stored: one for a single use
// stands for one visitor, however often it is shown. It returns fault.Invalid,
// NotFound and Unavailable.
func (s *Service) Invite(ctx context.Context, event string, r InviteRequest) ([]Invitation, error) {
	count := r.Count
	if len(r.Emails) > 0 {
		if count != 0 && count != len(r.Emails) {
			return nil, fault.New(fault.Invalid, "count and emails say different numbers; leave count out")
		}
		count = len(r.Emails)
	}
	switch {
	case r.Lane == NoLane || r.Lane == Suspect:
		return nil, fault.New(fault.Invalid, "lane must be staff, accessibility, fan or general")
	case count < 1 || count > mostInvites:
		return nil, fault.New(fault.Invalid, "the number of invitations must be from 1 to %d, not %d", mostInvites, count)
	case !r.Expires.After(s.Now()):
		return nil, fault.New(fault.Invalid, "expires_at must be in the future")
	}
	for i, email := range r.Emails {
		if at := strings.IndexByte(email, '@'); at < 1 || at == len(email)-1 || len(email) > 254 || strings.ContainsAny(email, " \t\r\n<>") {
			return nil, fault.New(fault.Invalid, "emails[%d] is not an e-mail address", i)
		}
	}
	if _, err := s.Room(ctx, event); err != nil {
		return nil, err
	}
	out := make([]Invitation, count)
	for i := range out {
		invite := pass.Invite{ID: pass.NewID(), Event: event, Lane: int(r.Lane), SingleUse: r.SingleUse, Expires: r.Expires}
		out[i].Lane = r.Lane
		if len(r.Emails) > 0 {
			out[i].Email = r.Emails[i]
			invite.Email = pass.BindEmail(invite.ID, r.Emails[i])
		}
		out[i].Token = s.Keys.SignInvite(invite)
	}
	return out, nil
}

// Network is the part of an IP address that counts as one joiner: the address
// itself, but the /64 of an IPv6 address, which is what one line is given.
func Network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64) // 64 bits fit
		return p.String()
	}
	return a.String()
}
