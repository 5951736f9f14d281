package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/checkout"
	"onsale/internal/fault"
)

// Channels: tickets that are kept for some people, who are let in by codes.

// mostInvites bounds the codes of one request, mostOrdinals the tickets.
const (
	mostInvites  = 1000
	mostOrdinals = 10_000
)

func (s *Server) adminChannels(c *gin.Context) {
	event, err := id(c, "id")
	var list []checkout.Channel
	if err == nil {
		list, err = s.Inventory.Channels(c.Request.Context(), event)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	if list == nil {
		list = []checkout.Channel{}
	}
	private(c, http.StatusOK, gin.H{"channels": list})
}

func (s *Server) adminCreateChannel(c *gin.Context) {
	event, err := id(c, "id")
	var b struct {
		Name string `json:"name"`
	}
	if err == nil {
		err = body(c, &b)
	}
	if err == nil {
		err = checkout.CheckChannelName(b.Name)
	}
	if err == nil { // what cannot be leaves no trace in the audit log
		_, err = s.Inventory.Channel(c.Request.Context(), event, b.Name)
		if err == nil {
			err = fault.New(fault.Conflict, "the event has a channel of this name already")
		} else if fault.Is(err, fault.NotFound) {
			_, err = s.Catalog.Event(c.Request.Context(), event)
		}
	}
	if err == nil {
		err = s.record(c, "channel.create", event, gin.H{"name": b.Name})
	}
	var channel checkout.Channel
	if err == nil {
		channel, err = s.Inventory.CreateChannel(c.Request.Context(), event, b.Name)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusCreated, channel)
}

// selectionBody names tickets: some of them, or all that have something in common.
type selectionBody struct {
	Tickets  []string `json:"tickets,omitempty"`
	Ordinals []int    `json:"ordinals,omitempty"`
	Section  string   `json:"section,omitempty"` // id or name
	Row      string   `json:"row,omitempty"`
	Tier     string   `json:"tier,omitempty"`     // id or name
	Quantity int      `json:"quantity,omitempty"` // the last so many of them
	All      bool     `json:"all,omitempty"`
}

func (b *selectionBody) selection(layout *catalog.Layout) (sel checkout.Selection, err error) {
	sel = checkout.Selection{Section: -1, Tier: -1, Row: b.Row, Quantity: b.Quantity, Ordinals: b.Ordinals}
	common := b.Section != "" || b.Row != "" || b.Tier != "" || b.All
	switch {
	case b.Tickets != nil && b.Ordinals != nil, (b.Tickets != nil || b.Ordinals != nil) == common:
		return sel, fault.New(fault.Invalid, "say which tickets: tickets, ordinals, some of section, row and tier, or all")
	case b.Tickets != nil && len(b.Tickets) == 0, b.Ordinals != nil && len(b.Ordinals) == 0: // not: all of them
		return sel, fault.New(fault.Invalid, "say which tickets: none is named")
	case len(b.Tickets) > mostOrdinals || len(b.Ordinals) > mostOrdinals:
		return sel, fault.New(fault.Invalid, "at most %d tickets can be named at once", mostOrdinals)
	case b.Quantity < 0:
		return sel, fault.New(fault.Invalid, "quantity must not be negative")
	case b.Row != "" && b.Section == "":
		return sel, fault.New(fault.Invalid, "row: the section is needed, too")
	}
	for _, t := range b.Tickets {
		o, ok := layout.Ordinal(strings.ToLower(t))
		if !ok {
			return sel, fault.New(fault.NotFound, "the event has no ticket %q", clip(t))
		}
		sel.Ordinals = append(sel.Ordinals, o)
	}
	if b.Section != "" {
		if sel.Section = sectionNamed(layout, b.Section); sel.Section < 0 {
			return sel, fault.New(fault.Invalid, "section: the event has no section %q", clip(b.Section))
		}
	}
	if b.Tier != "" {
		if sel.Tier = tierNamed(layout, b.Tier); sel.Tier < 0 {
			return sel, fault.New(fault.Invalid, "tier: the event has no tier %q", clip(b.Tier))
		}
	}
	return sel, nil
}

type allotting func(ctx context.Context, event, channel string, which checkout.Selection) (checkout.Allotment, error)

func (s *Server) adminAllot(c *gin.Context)   { s.allot(c, "channel.allot", s.Inventory.Allot) }
func (s *Server) adminUnallot(c *gin.Context) { s.allot(c, "channel.release", s.Inventory.Unallot) }

func (s *Server) allot(c *gin.Context, action string, do allotting) {
	ctx := c.Request.Context()
	event, err := id(c, "id")
	var channel string
	if err == nil {
		channel, err = id(c, "channel")
	}
	var b selectionBody
	if err == nil {
		err = body(c, &b)
	}
	var layout *catalog.Layout
	if err == nil {
		layout, err = s.Catalog.Layout(ctx, event)
	}
	var which checkout.Selection
	if err == nil {
		which, err = b.selection(layout)
	}
	if err == nil {
		_, err = which.Of(layout)
	}
	if err == nil { // a channel that is not there leaves no trace in the audit log
		_, err = s.Inventory.Channel(ctx, event, channel)
	}
	if err == nil {
		err = s.record(c, action, event, gin.H{"channel": channel, "tickets": b})
	}
	var a checkout.Allotment
	if err == nil {
		a, err = do(ctx, event, channel, which)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, gin.H{"done": len(a.Done), "skipped": orEmpty(a.Skipped)})
}

func orEmpty(list []int) []int {
	if list == nil {
		return []int{}
	}
	return list
}

// adminChannelInvites makes codes. They are told this once: only digests are kept.
func (s *Server) adminChannelInvites(c *gin.Context) {
	event, err := id(c, "id")
	var channel string
	if err == nil {
		channel, err = id(c, "channel")
	}
	b := struct {
		Count   int        `json:"count"`
		Uses    int        `json:"uses"` // of each
		Note    string     `json:"note"`
		Expires *time.Time `json:"expires_at"`
	}{Count: 1, Uses: 1}
	if err == nil {
		err = body(c, &b)
	}
	if err == nil && (b.Count < 1 || b.Count > mostInvites) {
		err = fault.New(fault.Invalid, "count must be from 1 to %d", mostInvites)
	}
	if err == nil {
		err = (&checkout.NewInvite{Note: b.Note, Uses: b.Uses, Expires: b.Expires}).Check(s.Clock())
	}
	if err == nil {
		_, err = s.Inventory.Channel(c.Request.Context(), event, channel)
	}
	if err == nil {
		err = s.record(c, "channel.invite", event, gin.H{"channel": channel, "count": b.Count, "uses": b.Uses, "note": b.Note})
	}
	codes := make([]string, max(min(b.Count, mostInvites), 0))
	if err == nil {
		invites := make([]checkout.NewInvite, len(codes))
		for i := range invites {
			codes[i] = newChannelCode()
			invites[i] = checkout.NewInvite{Digest: codeDigest(codes[i]), Note: b.Note, Uses: b.Uses, Expires: b.Expires}
		}
		err = s.Inventory.Invite(c.Request.Context(), event, channel, invites)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusCreated, gin.H{"codes": codes})
}

// newChannelCode returns 80 random bits in groups that can be read aloud.
func newChannelCode() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand panics instead
	text := base32.StdEncoding.EncodeToString(b[:])
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
}

// codeDigest is what is kept of a code, however it was typed.
func codeDigest(code string) [32]byte {
	plain := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToUpper(code))
	return sha256.Sum256([]byte("channel " + plain))
}

// channelMember is who asks about channels: whoever has a place in the line, or
// is in the shop.
func (s *Server) channelMember(c *gin.Context) (event, visitor string, err error) {
	if event, err = id(c, "id"); err != nil {
		return "", "", err
	}
	if visitor, err = s.shopper(c, event); err == nil {
		return event, visitor, nil
	}
	if visitor, err = s.visitor(c, event); err != nil {
		return "", "", err
	}
	if visitor == "" {
		return "", "", fault.New(fault.Unauthorized, "join the queue of this event first: its visitor token or pass is needed")
	}
	_, err = s.Rooms.Me(c.Request.Context(), event, visitor)
	return event, visitor, err
}

type channelView struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Ranges [][2]int `json:"ranges"` // of ordinals, first to last
}

func (s *Server) myChannels(c *gin.Context) {
	event, visitor, err := s.channelMember(c)
	if err != nil {
		s.fail(c, err)
		return
	}
	channels, tickets, err := s.Inventory.Mine(c.Request.Context(), event, visitor)
	if err != nil {
		s.fail(c, err)
		return
	}
	views := make([]channelView, len(channels))
	for i, ch := range channels {
		views[i] = channelView{ID: ch.ID, Name: ch.Name, Ranges: ranges(tickets[i])}
	}
	private(c, http.StatusOK, gin.H{"channels": views})
}

// ranges shortens an ascending list.
func ranges(list []int) [][2]int {
	out := [][2]int{}
	for _, o := range list {
		if n := len(out); n > 0 && out[n-1][1] == o-1 {
			out[n-1][1] = o
		} else {
			out = append(out, [2]int{o, o})
		}
	}
	return out
}

// enterChannel lets a visitor buy from the channel of their code.
func (s *Server) enterChannel(c *gin.Context) {
	event, visitor, err := s.channelMember(c)
	var b struct {
		Code string `json:"code"`
	}
	if err == nil {
		err = body(c, &b)
	}
	if err == nil && (b.Code == "" || len(b.Code) > 64) {
		err = fault.New(fault.Invalid, "code must be the code of an invitation")
	}
	if err == nil {
		_, err = s.Inventory.Enter(c.Request.Context(), event, visitor, codeDigest(b.Code))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.myChannels(c)
}
