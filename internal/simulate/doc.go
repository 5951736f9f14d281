// Package simulate plays a whole sale in virtual time, as far as its waiting room
// goes: hours in seconds, and crowds that no single machine can connect. Rooms are
// kept by the program's own store and scripts in a real Redis, ticked by the
// program's own service, drawn by its own draw and estimated by its own estimate;
// only the clock they see is the simulation's. People are modelled: when they come,
// whether they claim their turn, how long they shop and whether they buy.
//
// The same options give the same sale, to the last place.
package simulate
