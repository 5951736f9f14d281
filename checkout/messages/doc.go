// Package messages is what the system tells the outside: webhooks to other systems
// and e-mails to buyers.
//
// What is to be told is written down in the transaction of the change that it is
// about (see [onsale/checkout/pgstore]); this package carries it out afterwards.
//
// Guarantees: an announcement exists if, and only if, its change does, once. Every
// endpoint that wants it gets it at least once, with the same id every time, or the
// delivery is marked failed where an operator sees it and can have it sent again. An
// e-mail is sent once, except when a program dies or a connection is cut between the
// mail server's taking it and our noting so: then it may be sent twice, with the same
// Message-ID.
//
// Not guaranteed: order. Announcements carry the time of their change; a later one
// may arrive first.
package messages
