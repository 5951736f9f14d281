// Package catalog is the read side: events, venues, artists, seating plans,
// prices and the unchanging layout of an event's tickets.
//
// It guarantees that ordinals are dense (0 … n-1), contiguous per row and never
// change once an event exists. It says nothing about who has a ticket: that is
// checkout's business.
package catalog
