//go:build !linux

package bench

// manyLoopbacks tells that only 127.0.0.1 is this machine.
const manyLoopbacks = false
