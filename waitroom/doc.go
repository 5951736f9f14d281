// Package waitroom is the virtual waiting room: it gives visitors places in a
// line, lets them into the shop no faster than the throttle allows, and tells
// them the truth about where they stand.
//
// # Guarantees
//
//   - Joining is idempotent: one visitor has one place, however often, from
//     however many tabs and through however many nodes they join.
//   - Admission follows the line. Nobody is admitted while somebody with a
//     lower place waits.
//   - Admission never exceeds the throttle: at most Burst + Rate·w visitors in
//     any window w, and never more than MaxShoppers at once, with any number of
//     nodes. One script decides, on one clock.
//   - A place survives reconnects, other tabs, node crashes, and the loss of
//     everything in Redis: its receipt restores it.
//   - A turn is had once. Whoever let it pass, left or bought goes to the end.
//
// Not guaranteed: that the estimate of the wait holds (it is a range from what
// was measured), and that a shopper's lease survives the loss of Redis.
//
// # States
//
//	room:    scheduled → lobby → open ⇄ paused → closed
//	                              └→ draining ──┘
//	visitor: lobby → waiting → ready → shopping → done
//	                   │         │         │
//	                   └→ left   └─────────┴→ expired, left
//
// # Concurrency
//
// A Service is safe for concurrent use. It keeps no truth in memory: any number
// of them on any number of nodes share the rooms of one Store. Run ticks the
// rooms, which any number of nodes may do at once; no leader is elected. All
// goroutines are started by Run and have ended when Run returns.
package waitroom
