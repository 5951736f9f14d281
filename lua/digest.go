package lua

// RoomAdmitDigest is the digest under which Redis' log of commands names the
// script that ticks a room.
func RoomAdmitDigest() string { return roomAdmit.Hash() }
