// Package account lets buyers sign in, see what they have bought on all their
// devices, take a copy of what is known about them, and be forgotten.
//
// Nobody needs an account: guests buy, and are forgotten, by the links of their
// orders. An account begins with the first proof of an e-mail address, by a code sent
// to it, or of an identity at the issuer that the site trusts. Whether an address has
// an account cannot be found out: asking for a code and a wrong code are answered the
// same for every address.
//
// It does not guarantee that a code arrives, nor that copies which other systems took
// by webhooks, exports or e-mails are forgotten with the rest.
package account
