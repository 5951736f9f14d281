// Package catalog is the read side: events, venues, artists, seating plans,
// prices and the unchanging layout of an event's tickets.
//
// # Guarantees
//
//   - Ordinals are dense (0 … n-1), contiguous per section and row, and never
//     change once an event exists. The best sections come first.
//   - No two tickets of an event carry the same section, row and seat: a plan
//     that says so is refused, naming both places.
//   - An importer reports everything that is wrong with a document at once, each
//     problem with its place as a JSON path.
//   - What the [Cache] has seen stays served while the store is down.
//
// It says nothing about who has a ticket: that is checkout's business. Statuses
// in [Store.Tickets] are for reading, never for deciding.
//
// # From a file to tickets
//
//	ParsePlan ─→ Plan ─┐
//	ParseEvent ─→ NewEvent ─→ Compose ─→ Layout (ordinals, runs) + plan view
//
// A [Plan] is geometry and categories without prices, as organisers export it. A
// [NewEvent] puts prices on the categories and adds standing areas. [Compose] is
// pure; a Store runs it and keeps the result in one transaction.
//
// # Concurrency
//
// A Cache is safe for concurrent use and starts no goroutines. A [Layout] is
// immutable: when name, status or limit of its event change, the Cache hands out
// another one that shares its seats.
package catalog
