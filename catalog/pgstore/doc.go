// Package pgstore keeps the catalog in Postgres and owns the one sequence of
// migrations for all tables of onsale, the job queue's included.
//
// Whatever it returns as an error is either a fault a caller can act on
// (fault.NotFound, fault.Invalid, fault.Conflict) or fault.Unavailable when the
// database does not answer. Every call carries a deadline.
package pgstore
