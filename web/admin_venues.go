package web

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"onsale/catalog"
	"onsale/internal/fault"
)

func (s *Server) venueRoutes(a gin.IRouter) {
	a.GET("/venues", func(c *gin.Context) { listed(s, c, "venues", s.Organiser.Venues) })
	a.POST("/venues", s.adminCreateVenue)
	a.GET("/venues/:id", func(c *gin.Context) { found(s, c, s.Organiser.Venue) })
	a.PATCH("/venues/:id", s.adminUpdateVenue)
	a.DELETE("/venues/:id", func(c *gin.Context) {
		deleted(s, c, "venue", s.Organiser.Venue, func(v catalog.VenueRecord) int { return v.Events }, s.Organiser.DeleteVenue)
	})
}

func (s *Server) artistRoutes(a gin.IRouter) {
	a.GET("/artists", func(c *gin.Context) { listed(s, c, "artists", s.Organiser.Artists) })
	a.POST("/artists", s.adminCreateArtist)
	a.GET("/artists/:id", func(c *gin.Context) { found(s, c, s.Organiser.Artist) })
	a.PATCH("/artists/:id", s.adminUpdateArtist)
	a.DELETE("/artists/:id", func(c *gin.Context) {
		deleted(s, c, "artist", s.Organiser.Artist, func(r catalog.ArtistRecord) int { return r.Events }, s.Organiser.DeleteArtist)
	})
}

func (s *Server) adminCreateVenue(c *gin.Context) {
	ctx := c.Request.Context()
	var p catalog.VenuePatch
	err := body(c, &p)
	if err == nil && missing(p.Name) {
		err = fault.New(fault.Invalid, "name is missing")
	}
	if err == nil {
		err = p.Check()
	}
	if err == nil { // a name that is taken leaves no trace in the audit log
		err = s.Organiser.VenueFree(ctx, "", p)
	}
	if err == nil {
		err = s.record(c, "venue.create", *p.Name, p)
	}
	var v catalog.VenueRecord
	if err == nil {
		v, err = s.Organiser.CreateVenue(ctx, p)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Location", adminVenuesPath+"/"+v.ID)
	private(c, http.StatusCreated, v)
}

func (s *Server) adminUpdateVenue(c *gin.Context) {
	ctx := c.Request.Context()
	venue, err := id(c, "id")
	var p catalog.VenuePatch
	if err == nil {
		err = body(c, &p)
	}
	if err == nil && p == (catalog.VenuePatch{}) {
		err = fault.New(fault.Invalid, "nothing is changed: name, address, city, country or timezone is expected")
	}
	if err == nil {
		err = p.Check()
	}
	var before, v catalog.VenueRecord
	if err == nil { // an unknown venue leaves no trace in the audit log
		before, err = s.Organiser.Venue(ctx, venue)
	}
	if err == nil {
		err = s.Organiser.VenueFree(ctx, venue, p)
	}
	if err == nil {
		err = s.record(c, "venue.update", venue, p)
	}
	if err == nil {
		v, err = s.Organiser.UpdateVenue(ctx, venue, p)
		s.Catalog.Changed("")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	notes := []string{}
	if v.Timezone != before.Timezone && v.Events > 0 {
		notes = append(notes, "timezone: the events in this venue stay at their instants; their local times are others now")
	}
	private(c, http.StatusOK, struct {
		catalog.VenueRecord
		Notes []string `json:"notes"`
	}{v, notes})
}

func (s *Server) adminCreateArtist(c *gin.Context) {
	var p catalog.ArtistPatch
	err := body(c, &p)
	if err == nil && missing(p.Name) {
		err = fault.New(fault.Invalid, "name is missing")
	}
	if err == nil {
		err = p.Check()
	}
	if err == nil { // a name that is taken leaves no trace in the audit log
		err = s.Organiser.ArtistFree(c.Request.Context(), "", p)
	}
	if err == nil {
		err = s.record(c, "artist.create", *p.Name, p)
	}
	var r catalog.ArtistRecord
	if err == nil {
		r, err = s.Organiser.CreateArtist(c.Request.Context(), p)
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Location", adminArtistsPath+"/"+r.ID)
	private(c, http.StatusCreated, r)
}

func (s *Server) adminUpdateArtist(c *gin.Context) {
	ctx := c.Request.Context()
	artist, err := id(c, "id")
	var p catalog.ArtistPatch
	if err == nil {
		err = body(c, &p)
	}
	if err == nil && p == (catalog.ArtistPatch{}) {
		err = fault.New(fault.Invalid, "nothing is changed: name or url is expected")
	}
	if err == nil {
		err = p.Check()
	}
	if err == nil {
		_, err = s.Organiser.Artist(ctx, artist)
	}
	if err == nil {
		err = s.Organiser.ArtistFree(ctx, artist, p)
	}
	if err == nil {
		err = s.record(c, "artist.update", artist, p)
	}
	var r catalog.ArtistRecord
	if err == nil {
		r, err = s.Organiser.UpdateArtist(ctx, artist, p)
		s.Catalog.Changed("")
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	private(c, http.StatusOK, r)
}
