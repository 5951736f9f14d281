// Package lua holds the Redis scripts and one typed Go wrapper per script.
//
// Each *.lua file is embedded and starts with its contract: KEYS, ARGV, what it
// returns, which invariants it keeps and what it costs. A test holds each
// wrapper against that header. Times are integer milliseconds from Redis' own
// clock (TIME), so that nodes with different clocks agree. All keys a script
// touches share the hash tag of one event (keys.go).
package lua
