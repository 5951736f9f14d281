// Package stack finds or starts a private Redis and a private PostgreSQL.
// It is what the program runs on when no server is configured, and the bench
// of the tests.
//
// What it guarantees:
//
//   - Servers listen on 127.0.0.1 only, on a free port, behind a random
//     password that is kept in the data folder with mode 0600.
//   - A data folder belongs to one process at a time ([ErrLocked] otherwise),
//     and is found again by the next start, also after a crash: servers
//     orphaned by a killed parent are stopped before new ones start.
//   - Servers end with the process that started them, however it ends, and run
//     in process groups of their own, so that Ctrl-C in a terminal reaches only
//     the parent, which stops them in order.
//   - As root, PostgreSQL (which refuses root) runs as the user "postgres", or
//     "nobody" where there is none.
//
// What it does not: it is no replacement for a managed or replicated database,
// it does not upgrade a data folder between PostgreSQL major versions, and it
// runs on Linux and macOS only.
//
// Without a redis-server on the machine an in-process miniredis takes its place
// (see [Redis.Kind]); it keeps nothing between starts and is not for load.
// Without PostgreSQL, its binaries are downloaded once.
package stack
