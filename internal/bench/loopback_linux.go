package bench

// manyLoopbacks tells that all of 127.0.0.0/8 is this machine.
const manyLoopbacks = true
