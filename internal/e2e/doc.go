// Package e2e holds the tests of the whole program: the real binary on a real
// Redis and a real Postgres, killed, cut off and asked again.
package e2e
