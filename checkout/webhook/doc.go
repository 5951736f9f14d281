// Package webhook signs messages as the Standard Webhooks specification
// (https://www.standardwebhooks.com) has it and posts them to addresses that an
// operator has named.
//
// It guarantees that no request leaves for an address inside the operator's own
// network unless that is allowed: the address is looked at when the connection is
// made, after the name was resolved, so that a name that resolves to something
// else a moment later gains nothing. It follows no redirect and reads a bounded
// part of an answer. It does not try again: that is the caller's.
package webhook
