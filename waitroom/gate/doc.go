// Package gate protects any site written in Go with a waiting room of onsale:
// who has no turn is sent to the queue, and comes back with a pass.
//
//	g, err := gate.New(gate.Options{Event: event, Onsale: "https://tickets.example", Site: "https://shop.example"})
//	…
//	http.ListenAndServe(addr, g.Protect(site))
//
// # What it does with a request
//
//   - A pass is looked for in the cookie that the gate has set, in
//     Authorization: Bearer, and in the query parameter onsale_pass, with which
//     the queue sends visitors back. From the query it goes into an HttpOnly
//     cookie of this host, and the visitor to the same address without it.
//   - With a good pass the request goes through. The handler finds the pass
//     with From, and in the headers X-Onsale-Visitor and X-Onsale-Lease-Ends.
//   - Without one, a browser that opens a page is sent to the queue with the
//     way back; anything else gets 401 and a problem document (RFC 9457) whose
//     member queue is the address of the queue.
//   - A refused pass in the query is answered with a page, never a redirect: a
//     gate and a queue that disagree must not send a browser to and fro.
//
// # Guarantees
//
//   - Passes are verified here, offline: nothing is accepted but an EdDSA token
//     of the right kind, for the event, within its time, signed by a key that
//     onsale publishes.
//   - Keys are fetched when they are needed first, when they have grown old, and
//     when a pass names an unknown one; the last no more than once every few
//     seconds, whatever visitors send. The last good keys stay when fetching
//     fails. Without any keys nobody gets in: 503.
//   - Redirects lead to the queue or to the requested address on this host,
//     and nowhere else.
//
// Not guaranteed: a pass is good until its lease ends, even if its turn ended
// before that, because the visitor left or has bought. With
// Options.CheckEvery the gate asks onsale about that; while onsale does not
// answer, passes that verify are accepted.
//
// # Concurrency
//
// A Gate is safe for concurrent use. It starts at most one goroutine at a time,
// which fetches keys; Close ends it and waits.
package gate
