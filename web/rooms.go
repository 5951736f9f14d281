package web

import (
	"context"
	"net/http"
	"sync"

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
	g.GET("/draw", s.drawProof)
	g.POST("/handover", s.handOver)
	g.POST("/appeal", s.appeal)
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
		Receipt   string          `json:"receipt"`
		Handover  string          `json:"handover"`
		Invite    string          `json:"invite"`
		Email     string          `json:"email"`
		UserToken string          `json:"user_token"`
		Challenge waitroom.Answer `json:"challenge"`
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
	if err := s.publicRoom(c.Request.Context(), event); err != nil {
		s.fail(c, err)
		return
	}
	joined, err := s.Rooms.Join(c.Request.Context(), waitroom.JoinRequest{
		Event: event, Visitor: visitor, Receipt: in.Receipt, Pass: s.shownPass(c, event), Handover: in.Handover,
		Invite: in.Invite, Email: in.Email, UserToken: in.UserToken, Session: s.cookie(c, sessionCookie), Challenge: in.Challenge, Address: c.ClientIP(),
	})
	if f, ok := fault.Of(err); ok && f.Code == fault.SignInRequired && s.AtIssuer {
		err = f.With("sign_in", s.signInFrom("/queue/"+event))
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	s.joinedCookies(c, event, &joined)
	c.Header("Cache-Control", "no-store")
	answer := told.Get().(*[]byte)
	defer told.Put(answer)
	*answer = joined.AppendJSON((*answer)[:0])
	c.Data(http.StatusOK, "application/json; charset=utf-8", *answer)
}

// told are buffers for what visitors are told at a rush.
var told = sync.Pool{New: func() any { return new([]byte) }}

// forVisitor runs do for the visitor who is asking.
func (s *Server) forVisitor(c *gin.Context, do func(event, visitor string) error) {
	event, err := id(c, "event")
	if err != nil {
		s.fail(c, err)
		return
	}
	visitor, err := s.visitor(c, event)
	if err == nil && visitor == "" {
		err = fault.New(fault.UnknownVisitor, "no visitor token was sent; join the waiting room first")
	}
	if err == nil {
		err = do(event, visitor)
	}
	if err != nil {
		s.fail(c, err)
	}
}

// asVisitor runs do for the visitor who is asking and renders their Me.
func (s *Server) asVisitor(c *gin.Context, do func(event, visitor string) (waitroom.Me, error)) {
	s.forVisitor(c, func(event, visitor string) error {
		me, err := do(event, visitor)
		if err != nil {
			return err
		}
		s.passCookie(c, event, &me)
		c.Header("Cache-Control", "no-store")
		if c.Request.Method == http.MethodDelete {
			c.Status(http.StatusNoContent)
			return nil
		}
		c.JSON(http.StatusOK, me)
		return nil
	})
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

// drawProof tells what is public of a room's draw by now, and where the draw puts
// the visitor who asks.
func (s *Server) drawProof(c *gin.Context) {
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
	ctx := c.Request.Context()
	if err := s.publicRoom(ctx, event); err != nil {
		s.fail(c, err)
		return
	}
	room, err := s.Rooms.Room(ctx, event)
	if err == nil && room.Order != waitroom.DrawOrder {
		err = fault.New(fault.NotFound, "this room draws no places; its order is %s", room.Order)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	proof := room.Proof()
	if visitor != "" {
		if v, err := s.Rooms.LookUp(ctx, event, visitor); err == nil {
			proof.You = room.Drawn(&v)
		}
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, proof)
}

// handOver makes a code with which another device becomes the same visitor.
func (s *Server) handOver(c *gin.Context) {
	s.forVisitor(c, func(event, visitor string) error {
		if err := body(c, &struct{}{}); err != nil {
			return err
		}
		h, err := s.Rooms.HandOver(c.Request.Context(), event, visitor)
		if err != nil {
			return err
		}
		private(c, http.StatusCreated, gin.H{
			"code": h.Code, "url": s.queueURL(event) + "#handover=" + h.Code, "expires_at": h.Expires.UTC(),
		})
		return nil
	})
}

// appeal lets somebody out of the suspect lane.
func (s *Server) appeal(c *gin.Context) {
	var in struct {
		Challenge waitroom.Answer `json:"challenge"`
	}
	if err := body(c, &in); err != nil {
		s.fail(c, err)
		return
	}
	s.asVisitor(c, func(event, visitor string) (waitroom.Me, error) {
		return s.Rooms.Appeal(c.Request.Context(), event, visitor, in.Challenge)
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
	join, joins := c.GetQuery("join")
	if joins && join != "1" {
		s.fail(c, fault.New(fault.Invalid, "query parameter \"join\" must be 1"))
		return
	}
	if err = s.publicRoom(c.Request.Context(), event); err == nil {
		_, err = s.Rooms.Room(c.Request.Context(), event)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	o := opening{event: event, foreign: !s.originAllowed(c.Request)}
	if !o.foreign {
		if o.visitor, err = s.visitor(c, event); err != nil {
			s.fail(c, err)
			return
		}
		if joins {
			o.join = func(ctx context.Context, dst []byte) (waitroom.Visitor, []byte, error) {
				joined, v, err := s.Rooms.Arrive(ctx, waitroom.JoinRequest{
					Event: event, Visitor: o.visitor, Pass: s.shownPass(c, event), Session: s.cookie(c, sessionCookie), Address: c.ClientIP(),
				})
				if err != nil {
					return v, dst, err
				}
				s.joinedCookies(c, event, &joined)
				return v, joined.AppendJSON(dst), nil
			}
		}
	}
	if err := s.hub.serve(c, o); err != nil {
		s.fail(c, err)
	}
}

// joinedCookies gives a browser what proves who it is, and the pass of a shopper.
func (s *Server) joinedCookies(c *gin.Context, event string, joined *waitroom.Joined) {
	if joined.VisitorToken != "" {
		s.setVisitorCookie(c, joined.VisitorToken)
	}
	s.passCookie(c, event, &joined.Me)
}
