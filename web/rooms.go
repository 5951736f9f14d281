package web

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"onsale/internal/fault"
	"onsale/waitroom"
)

// roomRoutes are the waiting room's.
func (s *Server) roomRoutes(r *gin.Engine) {
	r.GET("/.well-known/jwks.json", s.jwks)
	g := r.Group("/v1/rooms/:event")
	g.POST("/join", s.joinRoom)
	g.GET("/me", s.getMe)
	g.DELETE("/me", s.leaveRoom)
	g.POST("/claim", s.claimTurn)
	g.GET("/ws", s.roomSocket)
	g.GET("/check", s.checkPass)
	g.GET("/enter", s.enterSite)
}

// jwks publishes the public keys with which anyone can verify a pass.
func (s *Server) jwks(c *gin.Context) {
	c.Header("Cache-Control", "public, max-age=300")
	c.Data(http.StatusOK, "application/jwk-set+json", s.Keys.JWKS())
}

func (s *Server) joinRoom(c *gin.Context) {
	event, err := id(c, "event")
	if err != nil {
		s.fail(c, err)
		return
	}
	var in struct {
		Receipt string `json:"receipt"`
	}
	if err := body(c, &in); err != nil {
		s.fail(c, err)
		return
	}
	visitor, err := s.visitor(c, event)
	if err != nil {
		s.fail(c, err)
		return
	}
	joined, err := s.Rooms.Join(c.Request.Context(), waitroom.JoinRequest{
		Event: event, Visitor: visitor, Receipt: in.Receipt, Address: c.ClientIP(),
	})
	if err != nil {
		s.fail(c, err)
		return
	}
	if joined.VisitorToken != "" {
		s.setVisitorCookie(c, joined.VisitorToken)
	}
	s.passCookie(c, event, &joined.Me)
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, joined)
}

// asVisitor runs do for the visitor who is asking and renders their Me.
func (s *Server) asVisitor(c *gin.Context, do func(event, visitor string) (waitroom.Me, error)) {
	event, err := id(c, "event")
	if err != nil {
		s.fail(c, err)
		return
	}
	visitor, err := s.visitor(c, event)
	if err != nil {
		s.fail(c, err)
		return
	}
	if visitor == "" {
		s.fail(c, fault.New(fault.UnknownVisitor, "no visitor token was sent; join the waiting room first"))
		return
	}
	me, err := do(event, visitor)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.passCookie(c, event, &me)
	c.Header("Cache-Control", "no-store")
	if c.Request.Method == http.MethodDelete {
		c.Status(http.StatusNoContent)
		return
	}
	c.JSON(http.StatusOK, me)
}

func (s *Server) getMe(c *gin.Context) {
	s.asVisitor(c, func(event, visitor string) (waitroom.Me, error) {
		return s.Rooms.Me(c.Request.Context(), event, visitor)
	})
}

func (s *Server) leaveRoom(c *gin.Context) {
	s.asVisitor(c, func(event, visitor string) (waitroom.Me, error) {
		return s.Rooms.Leave(c.Request.Context(), event, visitor)
	})
}

func (s *Server) claimTurn(c *gin.Context) {
	if err := body(c, &struct{}{}); err != nil {
		s.fail(c, err)
		return
	}
	s.asVisitor(c, func(event, visitor string) (waitroom.Me, error) {
		return s.Rooms.Claim(c.Request.Context(), event, visitor)
	})
}

// passCookie gives a browser the pass of a shopper; the pages never see it.
func (s *Server) passCookie(c *gin.Context, event string, me *waitroom.Me) {
	if me.Pass != nil && me.LeaseEnds != nil {
		s.setPassCookie(c, event, *me.Pass, *me.LeaseEnds)
	}
}

// roomSocket is the WebSocket of somebody who waits.
func (s *Server) roomSocket(c *gin.Context) {
	event, err := id(c, "event")
	if err != nil {
		s.fail(c, err)
		return
	}
	if err := wantsWebSocket(c); err != nil {
		s.fail(c, err)
		return
	}
	if _, err := s.Rooms.Room(c.Request.Context(), event); err != nil {
		s.fail(c, err)
		return
	}
	originOK := s.originAllowed(c.Request)
	var visitor string
	if originOK {
		if visitor, err = s.visitor(c, event); err != nil {
			s.fail(c, err)
			return
		}
	}
	if err := s.hub.serve(c, event, visitor, originOK); err != nil {
		s.fail(c, err)
	}
}
