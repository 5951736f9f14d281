// Package checkout sells tickets: holds, orders, payments and their recovery.
//
// It guarantees that a ticket is sold at most once (one conditional statement
// and a unique index in Postgres decide, whatever Redis says), that money is
// captured only for a committed sale, and that every order reaches a terminal
// state without an operator: each step that leaves something open writes a
// durable job in the same transaction, and a periodic reconciliation picks up
// whatever a job could not finish.
//
// It does not guarantee that a hold becomes an order: a hold in Redis is an
// admission filter. If Redis loses it, somebody else may claim the tickets
// first, and the buyer is told so before any money moves.
//
// A purchase goes hold → order (tickets reserved in Postgres) → authorise →
// commit (tickets purchased, order paid) → capture (order fulfilled, codes
// issued). Service runs the steps, HoldStore and OrderStore keep the state,
// payment.Gateway moves the money.
package checkout
