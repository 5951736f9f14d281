package web

import (
	"time"

	"github.com/gin-gonic/gin"
)

// Routes lists what the server answers.
func (s *Server) Routes() gin.RoutesInfo { return s.engine.Routes() }

// Documented is the path of a route as the OpenAPI document has it.
var Documented = documented

// Problems is the table of problems: status and title, by code.
func Problems() map[string]struct {
	Status int
	Title  string
} {
	all := make(map[string]struct {
		Status int
		Title  string
	}, len(kinds))
	for code, kind := range kinds {
		all[string(code)] = struct {
			Status int
			Title  string
		}{kind.status, kind.title}
	}
	return all
}

// SmallSendBuffers has the kernel keep next to nothing for viewers who connect
// from now on, and leaves slow ones a minute to read how it ended.
func (s *Server) SmallSendBuffers() {
	s.live.sockets.o.sendBuffer, s.live.sockets.o.farewell = 1, time.Minute
}
