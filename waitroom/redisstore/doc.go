// Package redisstore keeps waiting rooms in Redis, or in Redis Cluster, where
// all keys of one event share a slot.
//
// Each method is one script or one transaction, runs on Redis' own clock and
// carries a deadline. Scripts that a server has forgotten are sent again. The
// scripts and their contracts stand in package lua.
package redisstore
