// Package bench measures the program against its goals, and drives crowds of
// virtual visitors through it.
//
// A [Row] is one figure with its reference: both are measured by the same run of
// the same command on the same machine, in turns, so that a noisy machine
// disturbs both alike. Each row runs the program itself, as a child process of
// the binary that runs the bench, through its public API, on a Redis with an
// append-only file flushed every second and a PostgreSQL with fsync on that
// nobody else uses. To add a row, add a file that calls register.
//
// A [Journey] walks virtual visitors from the queue to their tickets and then
// checks what must hold whatever happened: see [Check].
//
// What it guarantees: it talks to loopback addresses only, every run is bounded
// in requests, connections and time, and all it started ends with it. What it
// does not: the load generator shares the machine with what it measures, so
// absolute figures are too low; only ratios and sizes are to be compared.
package bench
