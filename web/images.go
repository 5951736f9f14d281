package web

import (
	"strconv"
	"strings"

	"onsale/catalog"
)

// pagesWithImages show pictures of events, which come from elsewhere.
var pagesWithImages = []string{"event.html", "index.html"}

// withImages is a page's policy that lets pictures come from these origins, too.
func withImages(policy string, origins []string) string {
	if len(origins) == 0 {
		return policy
	}
	return strings.Replace(policy, "; img-src 'self' data:", "; img-src 'self' data: "+strings.Join(origins, " "), 1)
}

// imageOrigins tells a page's script which pictures it may show; never nil.
func (s *Server) imageOrigins() []string {
	if s.EventDefaults.ImageOrigins == nil {
		return []string{}
	}
	return s.EventDefaults.ImageOrigins
}

// imagesOf is never nil.
func imagesOf(e catalog.Event) []catalog.Image {
	if e.Images == nil {
		return []catalog.Image{}
	}
	return e.Images
}

// firstImage is what previews of links show, nil for none.
func firstImage(e catalog.Event) *catalog.Image {
	if len(e.Images) == 0 {
		return nil
	}
	return &e.Images[0]
}

// picture is an img element that lets browsers choose by size.
type picture struct {
	catalog.Image // the largest: its sides are the shape
	Set, Sizes    string
	Lazy          bool
}

// pictureOf is nil when there is no picture that pages may show.
func (s *Server) pictureOf(images []catalog.Image, sizes string, lazy bool) *picture {
	all := catalog.Pictures(images, s.EventDefaults.ImageOrigins)
	if len(all) == 0 {
		return nil
	}
	set := make([]string, len(all))
	for i, one := range all {
		set[i] = one.URL + " " + strconv.Itoa(one.Width) + "w"
	}
	return &picture{Image: all[len(all)-1], Set: strings.Join(set, ", "), Sizes: sizes, Lazy: lazy}
}

const pictureTemplate = `{{define "picture"}}{{with .}}<img src="{{.URL}}" srcset="{{.Set}}" sizes="{{.Sizes}}" width="{{.Width}}" height="{{.Height}}" alt="{{.Alt}}"{{if .Lazy}} loading="lazy"{{end}} referrerpolicy="no-referrer">
{{end}}{{end}}`

// listedEvent is an event in the list that needs no script.
type listedEvent struct {
	catalog.Event
	Picture *picture
}

func (s *Server) listed(events []catalog.Event) []listedEvent {
	all := make([]listedEvent, len(events))
	for i, e := range events {
		all[i] = listedEvent{e, s.pictureOf(e.Images, "(max-width: 640px) 100vw, 360px", i > 1)}
	}
	return all
}
