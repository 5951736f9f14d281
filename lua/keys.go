package lua

import "strconv"

// Every Redis key of onsale is built here. All keys of one event share the hash
// tag {event}, so that each script touches one Redis Cluster slot.

// RoomsKey is the set of events that have a room. It has no TTL: it lives as
// long as the rooms do.
const RoomsKey = "wr:rooms"

// RoomKey is the hash with a room's state, throttle, bucket and counters. No
// TTL while the room lives.
func RoomKey(event string) string { return "wr:{" + event + "}:room" }

// LobbyKey is the sorted set visitor → join index, before the draw.
func LobbyKey(event string) string { return "wr:{" + event + "}:lobby" }

// QueueKey is the sorted set visitor → place.
func QueueKey(event string) string { return "wr:{" + event + "}:queue" }

// ActiveKey is the sorted set visitor → end of claim window or lease (ms).
func ActiveKey(event string) string { return "wr:{" + event + "}:active" }

// TurnsKey is the hash visitor → the turn they had (see turns in room scripts).
func TurnsKey(event string) string { return "wr:{" + event + "}:turns" }

// JoinsKey counts the new visitors from one address in the current minute. It
// expires with the minute. addr is a digest, never the address itself.
func JoinsKey(event, addr string) string { return "wr:{" + event + "}:joins:" + addr }

// RoomChannel carries what changed in a room: "a <visitor>…" for those admitted
// in one batch, "v <visitor>…" for visitors whose state changed otherwise, "r"
// for the room itself. Messages may be lost; every node looks anyway.
func RoomChannel(event string) string { return "wr:{" + event + "}:news" }

// RoomChannels is the pattern that matches every RoomChannel.
const RoomChannels = "wr:{*}:news"

// StatusKey is the string with one byte per ticket: A, H, S or X.
func StatusKey(event string) string { return "inv:{" + event + "}:status" }

// SeqKey counts the published changes of StatusKey.
func SeqKey(event string) string { return "inv:{" + event + "}:seq" }

// RunsKey is the static table of adjacent tickets of one tier, for the search
// of best available tickets.
func RunsKey(event string) string { return "inv:{" + event + "}:runs" }

// FenceKey counts the holds ever made, so that a newer hold has a higher fence.
func FenceKey(event string) string { return "inv:{" + event + "}:fence" }

// InventoryChannel carries "<seq>" after every change of StatusKey.
func InventoryChannel(event string) string { return "inv:{" + event + "}:changed" }

// HoldKey is the hash of one hold. It expires with the hold.
func HoldKey(event, hold string) string { return "hold:{" + event + "}:h:" + hold }

// HoldTicketKey is the lock of one ticket: the hold that has it. It expires
// with the hold.
func HoldTicketKey(event string, ordinal int) string {
	return HoldTicketPrefix(event) + strconv.Itoa(ordinal)
}

// HoldTicketPrefix is what HoldTicketKey puts before the ordinal, for scripts
// that choose the tickets themselves.
func HoldTicketPrefix(event string) string { return "hold:{" + event + "}:t:" }

// HoldExpiryKey is the sorted set hold → expiry (ms), for the sweeper.
func HoldExpiryKey(event string) string { return "hold:{" + event + "}:exp" }

// HoldPrefix is what HoldKey puts before the hold's id, for the sweeper.
func HoldPrefix(event string) string { return "hold:{" + event + "}:h:" }

// VisitorHoldsKey is the set of one visitor's holds. It expires with the last.
func VisitorHoldsKey(event, visitor string) string { return VisitorHoldsPrefix(event) + visitor }

// VisitorHoldsPrefix is what VisitorHoldsKey puts before the visitor.
func VisitorHoldsPrefix(event string) string { return "hold:{" + event + "}:v:" }

// BoughtKey is the hash visitor → tickets bought, so that a hold can refuse
// early what Postgres would refuse later. Lives as long as the inventory.
func BoughtKey(event string) string { return "inv:{" + event + "}:bought" }
