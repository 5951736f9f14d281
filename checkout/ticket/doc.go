// Package ticket makes and reads what the door scans.
//
// # The signed text
//
// A QR code carries a text of 194 characters: "T1", the format's version, and
// 120 bytes in Crockford's base32 (0-9 A-Z without I L O U, five bits each):
//
//	offset  size
//	     0    16  event, a UUID
//	    16    16  ticket
//	    32    16  admission: the ticket in the hands of one holder
//	    48     4  time of issue, seconds since 1970, big endian
//	    52     4  key: the first bytes of SHA-256 of the kid in the JSON Web Key Set
//	    56    64  Ed25519 signature of "onsale ticket 1\n" and bytes 0 to 55
//
// All characters are of the QR code's alphanumeric mode (5.5 bits each), which
// makes a symbol of version 8, 49 modules wide, at error correction M. Base 45
// would save twelve characters and no version, and has characters that keyboard
// scanners and addresses garble.
//
// Whoever has the public keys can tell offline that a text is genuine, and for
// which event and ticket. That it was not used, passed on or refunded since, only
// the server or a list of it can tell.
//
// # The rotating text
//
// A screenshot opens the door as well as the phone it was made on. Where that
// matters, the text goes on with "." and eight digits, 203 characters in all and
// the same version of QR code: the time-based one-time password of RFC 6238 with
// HMAC-SHA-256, steps of 15 seconds and a secret of 32 bytes per admission. The
// step before and the one after are right, too.
//
// # The text code
//
// Sixteen characters in four groups, 80 random bits in Crockford's base32, are
// for reading aloud and typing. They prove nothing offline.
//
// The package does no I/O, reads no clock and keeps no state.
package ticket
