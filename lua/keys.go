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

// LobbyKey is the sorted set visitor → lane and join index, before the draw. No
// TTL while the room lives.
func LobbyKey(event string) string { return "wr:{" + event + "}:lobby" }

// QueueKey is the sorted set visitor → lane and place. No TTL while the room
// lives.
func QueueKey(event string) string { return "wr:{" + event + "}:queue" }

// ReadyKey is the sorted set visitor → end of the claim window (ms), of those
// whose turn has come.
func ReadyKey(event string) string { return "wr:{" + event + "}:ready" }

// ActiveKey is the sorted set visitor → end of the lease (ms), of shoppers.
func ActiveKey(event string) string { return "wr:{" + event + "}:active" }

// TurnsKey is the hash visitor → the turn they had (see turns in room scripts).
// No TTL while the room lives: it keeps a turn from being had twice.
func TurnsKey(event string) string { return "wr:{" + event + "}:turns" }

// GoneKey is the sorted set visitor → when their last connection dropped (ms).
// Who comes back, or whose turn comes, is taken out.
func GoneKey(event string) string { return "wr:{" + event + "}:gone" }

// LogKey is the sorted set of changes the room made by itself, until they are
// stored; bounded in number by the scripts.
func LogKey(event string) string { return "wr:{" + event + "}:log" }

// DirtyKey is the sorted set visitor → when their turn changed (ms), until it is
// stored.
func DirtyKey(event string) string { return "wr:{" + event + "}:dirty" }

// JoinsKey counts the new visitors from one address in the current minute. It
// expires with the minute. addr is a digest, never the address itself.
func JoinsKey(event, addr string) string { return "wr:{" + event + "}:joins:" + addr }

// NonceKey says that a challenge was used. It expires an hour later, long after
// the challenge.
func NonceKey(event, challenge string) string { return "wr:{" + event + "}:nonce:" + challenge }

// HandoverKey is the string with the visitor that a hand-over code, of which
// digest is the SHA-256, stands for. It expires with the code.
func HandoverKey(event, digest string) string { return "wr:{" + event + "}:handover:" + digest }

// HandoversKey counts a visitor's hand-over codes. It expires an hour after the
// first.
func HandoversKey(event, visitor string) string { return "wr:{" + event + "}:handovers:" + visitor }

// ShopsKey is the hash node → how its part of the shop feels, for the autopilot;
// it expires when no node says anything.
const ShopsKey = "wr:shops"

// RoomChannel carries what changed in a room: "a <visitor>…" for those admitted
// in one batch, "v <visitor>…" for visitors whose state changed otherwise, "r"
// for the room itself. Messages may be lost; every node looks anyway.
func RoomChannel(event string) string { return "wr:{" + event + "}:news" }

// RoomChannels is the pattern that matches every RoomChannel.
const RoomChannels = "wr:{*}:news"

// The inventory of an event. It has no TTL: it can be rebuilt from Postgres at
// any time, and lives as long as the event is looked at.

// StatusKey is the string with one byte per ticket: A, H, S or X.
func StatusKey(event string) string { return "inv:{" + event + "}:status" }

// SeqKey is the number of the last published change of StatusKey.
func SeqKey(event string) string { return "inv:{" + event + "}:seq" }

// CountKey is the hash of tickets by status and tier, kept by the scripts, and of
// the load they started from.
func CountKey(event string) string { return "inv:{" + event + "}:count" }

// ShapeKey is the string with one byte per ticket that says where rows and runs
// begin and which seats are kept for some people. It changes with RevisionKey.
func ShapeKey(event string) string { return "inv:{" + event + "}:shape" }

// RevisionKey is the number of the event's layout that ShapeKey is of, at least;
// missing is 0.
func RevisionKey(event string) string { return "inv:{" + event + "}:revision" }

// TiersKey is the string with one byte per ticket, its tier. It never changes.
func TiersKey(event string) string { return "inv:{" + event + "}:tiers" }

// AllotKey is the string with one byte per ticket, the channel it is kept for. It
// is missing while the event has no channels.
func AllotKey(event string) string { return "inv:{" + event + "}:allot" }

// AccessKey is the hash visitor → the channels they may buy from.
func AccessKey(event string) string { return "inv:{" + event + "}:access" }

// BoughtKey is the hash visitor → tickets bought, so that a hold can refuse
// early what Postgres would refuse later.
func BoughtKey(event string) string { return "inv:{" + event + "}:bought" }

// InventoryChannel carries "<seq>" after every change of StatusKey.
func InventoryChannel(event string) string { return "inv:{" + event + "}:changed" }

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

// HoldsKey is the hash of an event's holds, until the sweeper ends them.
func HoldsKey(event string) string { return "hold:{" + event + "}:holds" }

// GuessesKey counts the wrong promo codes of a visitor. It expires.
func GuessesKey(event, visitor string) string { return "hold:{" + event + "}:guesses:" + visitor }

// HoldersKey is the hash visitor → list of their holds; who has none is not in it.
func HoldersKey(event string) string { return "hold:{" + event + "}:of" }
