package checkout

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"onsale/catalog"
	"onsale/internal/fault"
)

// Channel is some tickets of an event that are not for everybody: a fan club's, a
// sponsor's, or those of the house, which nobody is invited to.
type Channel struct {
	ID     string `json:"id"`
	Number int    `json:"-"` // from 1, within the event
	Name   string `json:"name"`
	// Tickets by what Postgres knows of them; what is only held counts as available.
	Available int `json:"available"`
	Sold      int `json:"sold"`
	Invites   int `json:"invites"`
	Members   int `json:"members"`
}

// Invited reports whether anybody was invited to buy from the channel.
func (c Channel) Invited() bool { return c.Invites > 0 }

// NewInvite lets somebody with its code buy from a channel, as often as Uses says.
type NewInvite struct {
	Digest  [32]byte // SHA-256 of the code
	Note    string
	Uses    int
	Expires *time.Time
}

// ChannelStore keeps the channels of events durably. Its errors are faults.
type ChannelStore interface {
	Channels(ctx context.Context, event string) ([]Channel, error)
	// CreateChannel refuses a name that is taken, or one channel too many, as
	// Conflict.
	CreateChannel(ctx context.Context, event, id, name string) (Channel, error)
	// SetChannel keeps tickets for a channel, "" for everybody.
	SetChannel(ctx context.Context, event, channel string, ordinals []int) error
	// OfChannel lists the tickets kept for a channel.
	OfChannel(ctx context.Context, event, channel string) ([]int, error)
	AddInvites(ctx context.Context, channel string, invites []NewInvite) error
	// UseInvite makes a visitor a member of the code's channel; doing so again
	// uses nothing. InviteInvalid for an unknown, used up or lapsed code. It returns
	// the channel and the numbers of all channels the visitor is in.
	UseInvite(ctx context.Context, event, visitor string, digest [32]byte) (c Channel, all []int, err error)
	// ChannelsOf lists the channels a visitor is in.
	ChannelsOf(ctx context.Context, event, visitor string) ([]Channel, error)
}

// Bounds of channels.
const (
	MostChannels   = 60
	mostChannel    = 100 // characters of a name
	channelsAge    = 5 * time.Second
	mostInviteUses = 100_000
)

type channelsNow struct {
	list []Channel
	at   time.Time
}

// Channels lists the channels of an event.
func (i *Inventory) Channels(ctx context.Context, event string) ([]Channel, error) {
	if _, err := i.catalog.Layout(ctx, event); err != nil {
		return nil, err
	}
	return i.orders.Channels(ctx, event)
}

// recentChannels is Channels, a few seconds old at most.
func (i *Inventory) recentChannels(ctx context.Context, event string) ([]Channel, error) {
	i.mu.Lock()
	last, ok := i.channels[event]
	i.mu.Unlock()
	if ok && i.now().Sub(last.at) < channelsAge {
		return last.list, nil
	}
	at := i.now()
	list, err := i.orders.Channels(ctx, event)
	if err != nil {
		return nil, err
	}
	i.keep(func() { i.channels[event] = channelsNow{list, at} })
	return list, nil
}

// channelNumber resolves the id or name of a channel; "" is 0.
func (i *Inventory) channelNumber(ctx context.Context, event, name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	c, err := i.Channel(ctx, event, name)
	return c.Number, err
}

func channelNamed(list []Channel, name string) (Channel, error) {
	for _, c := range list {
		if c.ID == name || c.Name == name {
			return c, nil
		}
	}
	return Channel{}, noChannel(name)
}

// Kept counts the tickets that only people with an invitation may buy: they are
// not for everybody, but the event is not sold out while they are there.
func (i *Inventory) Kept(ctx context.Context, event string) int {
	list, err := i.recentChannels(ctx, event)
	if err != nil {
		return 0
	}
	n := 0
	for _, c := range list {
		if c.Invited() {
			n += c.Available
		}
	}
	return n
}

// Channel finds a channel by its id or name.
func (i *Inventory) Channel(ctx context.Context, event, name string) (Channel, error) {
	list, err := i.Channels(ctx, event)
	if err != nil {
		return Channel{}, err
	}
	return channelNamed(list, name)
}

// CheckChannelName says what is wrong with a channel's name, as fault.Invalid.
func CheckChannelName(name string) error {
	if n := utf8.RuneCountInString(name); strings.TrimSpace(name) == "" || n > mostChannel || hasControl(name) || !utf8.ValidString(name) {
		return fault.New(fault.Invalid, "name must have 1 to %d characters", mostChannel)
	}
	if catalog.IsID(name) {
		return fault.New(fault.Invalid, "name must not look like an id")
	}
	return nil
}

// CreateChannel gives an event another channel.
func (i *Inventory) CreateChannel(ctx context.Context, event, name string) (Channel, error) {
	if err := CheckChannelName(name); err != nil {
		return Channel{}, err
	}
	if _, err := i.catalog.Layout(ctx, event); err != nil {
		return Channel{}, err
	}
	id, err := newID()
	if err != nil {
		return Channel{}, err
	}
	return i.orders.CreateChannel(ctx, event, id, name)
}

// Selection names tickets of an event by what they have in common. Empty fields
// select everything; Quantity, if not 0, takes the last that many of them.
type Selection struct {
	Ordinals []int
	Section  int // index, -1 for any
	Row      string
	Tier     int // index, -1 for any
	Quantity int
}

// Of lists the selected tickets; none is fault.Invalid.
func (s Selection) Of(layout *catalog.Layout) ([]int, error) {
	if err := checkOrdinals(layout, s.Ordinals); err != nil {
		return nil, err
	}
	if len(s.Ordinals) > 0 {
		return s.Ordinals, nil
	}
	var list []int
	for o := range layout.Seats {
		seat := &layout.Seats[o]
		if (s.Section < 0 || seat.Section == s.Section) && (s.Tier < 0 || seat.Tier == s.Tier) && (s.Row == "" || seat.Row == s.Row) {
			list = append(list, o)
		}
	}
	if len(list) == 0 {
		return nil, fault.New(fault.Invalid, "no ticket of the event is selected by this")
	}
	return list, nil
}

// Allotment is what came of keeping tickets for a channel, or giving them back.
type Allotment struct {
	Done    []int // by ordinal
	Skipped []int // somebody holds or has bought them
}

// Allot keeps tickets for a channel. Tickets that somebody holds or has bought stay
// with them and are named.
func (i *Inventory) Allot(ctx context.Context, event, channel string, which Selection) (Allotment, error) {
	list, c, err := i.selected(ctx, event, channel, which)
	if err != nil {
		return Allotment{}, err
	}
	if which.Quantity > 0 { // the last of those that anybody may still buy
		v, err := i.Refresh(ctx, event)
		if err != nil {
			return Allotment{}, err
		}
		free := slices.DeleteFunc(slices.Clone(list), func(o int) bool {
			return o >= len(v.Status) || TicketState(v.Status[o]) != Available
		})
		if len(free) < which.Quantity {
			return Allotment{}, fault.New(fault.Conflict, "only %d of these tickets are available", len(free)).With("left", len(free))
		}
		list = free[len(free)-which.Quantity:]
	}
	// First where buyers are, so that nobody who holds a ticket loses it; what
	// fails after that is put right by the auditor.
	if _, err := i.Stock(ctx, event); err != nil { // loads it if need be
		return Allotment{}, err
	}
	var a Allotment
	for part := range slices.Chunk(list, mostSettled) {
		done, err := i.holds.Allot(ctx, event, c.Number, false, part)
		if err != nil {
			return a, err
		}
		if err := i.orders.SetChannel(ctx, event, c.ID, done); err != nil {
			return a, err
		}
		a.Done = append(a.Done, done...)
	}
	a.Skipped = without(list, a.Done)
	i.changed(event)
	i.log.InfoContext(ctx, "tickets kept for a channel", slog.String("event", event), slog.String("channel", c.Name), slog.Int("tickets", len(a.Done)))
	return a, nil
}

// mostSettled bounds the tickets of one script.
const mostSettled = 1000

// Unallot gives tickets of a channel back to everybody, at once.
func (i *Inventory) Unallot(ctx context.Context, event, channel string, which Selection) (Allotment, error) {
	list, c, err := i.selected(ctx, event, channel, which)
	if err != nil {
		return Allotment{}, err
	}
	has, err := i.orders.OfChannel(ctx, event, c.ID)
	if err != nil {
		return Allotment{}, err
	}
	wanted := make(map[int]bool, len(list))
	for _, o := range list {
		wanted[o] = true
	}
	has = slices.DeleteFunc(has, func(o int) bool { return !wanted[o] })
	if which.Quantity > 0 && which.Quantity < len(has) {
		has = has[len(has)-which.Quantity:]
	}
	// First in Postgres, which would refuse everybody else's claim.
	if err := i.orders.SetChannel(ctx, event, "", has); err != nil {
		return Allotment{}, err
	}
	if _, err := i.Stock(ctx, event); err != nil {
		return Allotment{Done: has}, err
	}
	for part := range slices.Chunk(has, mostSettled) {
		if _, err := i.holds.Allot(ctx, event, 0, true, part); err != nil {
			return Allotment{Done: has}, err
		}
	}
	i.changed(event)
	return Allotment{Done: has}, nil
}

// changed forgets what was true until a moment ago, so that who made a change sees it.
func (i *Inventory) changed(event string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.stocks, event)
	delete(i.views, event)
	delete(i.channels, event)
}

func (i *Inventory) selected(ctx context.Context, event, channel string, which Selection) ([]int, Channel, error) {
	layout, err := i.catalog.Layout(ctx, event)
	if err != nil {
		return nil, Channel{}, err
	}
	list, err := which.Of(layout)
	if err != nil {
		return nil, Channel{}, err
	}
	c, err := i.Channel(ctx, event, channel)
	return list, c, err
}

// Check says what is wrong with an invitation, as fault.Invalid.
func (n *NewInvite) Check(now time.Time) error {
	switch {
	case n.Uses < 1 || n.Uses > mostInviteUses:
		return fault.New(fault.Invalid, "uses must be from 1 to %d", mostInviteUses)
	case utf8.RuneCountInString(n.Note) > 200 || hasControl(n.Note) || !utf8.ValidString(n.Note):
		return fault.New(fault.Invalid, "note must be text of at most 200 characters")
	case n.Expires != nil && n.Expires.Before(now):
		return fault.New(fault.Invalid, "expires_at is over already")
	}
	return nil
}

// Invite lets people with these codes buy from a channel.
func (i *Inventory) Invite(ctx context.Context, event, channel string, invites []NewInvite) error {
	for n := range invites {
		if err := invites[n].Check(i.now()); err != nil {
			return err
		}
	}
	c, err := i.Channel(ctx, event, channel)
	if err != nil {
		return err
	}
	return i.orders.AddInvites(ctx, c.ID, invites)
}

// Enter lets a visitor buy from the channel that a code is for.
func (i *Inventory) Enter(ctx context.Context, event, visitor string, digest [32]byte) (Channel, error) {
	if _, err := i.Stock(ctx, event); err != nil { // loads it if need be
		return Channel{}, err
	}
	c, all, err := i.orders.UseInvite(ctx, event, visitor, digest)
	if err != nil {
		return Channel{}, err
	}
	return c, i.holds.Enter(ctx, event, visitor, all)
}

// Mine lists the channels a visitor may buy from, with the tickets of each.
func (i *Inventory) Mine(ctx context.Context, event, visitor string) (channels []Channel, tickets [][]int, err error) {
	if _, err := i.catalog.Layout(ctx, event); err != nil {
		return nil, nil, err
	}
	if channels, err = i.orders.ChannelsOf(ctx, event, visitor); err != nil {
		return nil, nil, err
	}
	for _, c := range channels {
		list, err := i.orders.OfChannel(ctx, event, c.ID)
		if err != nil {
			return nil, nil, err
		}
		tickets = append(tickets, list)
	}
	return channels, tickets, nil
}

func without(all, some []int) []int {
	has := make(map[int]bool, len(some))
	for _, n := range some {
		has[n] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(n int) bool { return has[n] })
}
