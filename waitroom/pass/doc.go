// Package pass makes and checks the signed tokens of onsale: visitor tokens,
// passes, receipts, order tokens, invites, challenges, sessions and sign-ins.
//
// All are JSON Web Tokens (RFC 7519). Passes, order tokens, invites and sessions
// are signed with Ed25519 (alg "EdDSA", RFC 8037): with the published keys anybody
// can verify them. Visitor tokens, receipts, challenges and sign-ins under way are
// read by nobody but the nodes that share the KeySet and carry HMAC-SHA256 (alg
// "HS256"), with a key per kind derived from the signing seed (HKDF, RFC 5869). A
// token is accepted only if
//
//   - it is at most MaxLength bytes, which is looked at before anything else,
//   - its header has exactly the members alg, kid and typ,
//   - alg is the one of the kind asked for and kid names a key of the KeySet,
//   - typ is the kind asked for, so that a receipt is never taken for a pass,
//   - its issuer is "onsale", and its audience the event asked for,
//   - it has not expired, without leeway, by the time the caller passes in.
//
// Tokens are deterministic: the same facts give the same bytes, on every node
// that shares the KeySet, so that claiming a turn again returns the same pass.
//
// A token proves what was true when it was signed. It cannot be revoked: that
// a lease still runs is decided where the lease is kept.
//
// The package does no I/O, reads no clock and is safe for concurrent use.
package pass
