// Package waitroom is the virtual waiting room: it gives visitors places in a
// line, lets them into the shop no faster than the throttle allows, and tells
// them the truth about where they stand. docs/waiting-room.md explains it to the
// people who run it.
//
// # Guarantees
//
//   - Joining is idempotent: one visitor has one place, however often, from
//     however many tabs and devices and through however many nodes they join.
//   - Admission follows the line: nobody is admitted while somebody with a
//     lower score waits, but for those who are not there.
//   - The order of a lobby that draws was committed to before anybody joined it,
//     and can be recomputed by everybody.
//   - Admission never exceeds the throttle: at most Burst + Rate·w visitors in
//     any window w, and never do more than MaxShoppers shop, with any number of
//     nodes. One script decides, on one clock. An operator may let in people
//     now; the bucket owes them.
//   - A place survives reconnects, other tabs, node crashes, and the loss of
//     everything in Redis: its receipt restores it.
//   - A turn is had once, and missed once without losing the place. Whoever let
//     it pass twice, left or bought goes to the end, also after the loss of Redis.
//
// Not guaranteed: that the estimate of the wait holds (it is a range from what
// was measured), and what happened in the last two seconds before a loss of
// Redis, unless a receipt or a pass proves it.
//
// # States
//
//	room:    scheduled → lobby → open ⇄ paused → draining → closed
//	visitor: lobby → waiting → ready → shopping → done
//	                  │  ↑       │         │
//	                  │  └ away  │         └→ expired, left
//	                  └→ left    └→ expired → waiting (once), left
//
// # Concurrency
//
// A Service is safe for concurrent use. It keeps no truth in memory: any number
// of them on any number of nodes share the rooms of one Store. Run ticks the
// rooms, which any number of nodes may do at once; no leader is elected. All
// goroutines are started by Run and have ended when Run returns.
package waitroom
