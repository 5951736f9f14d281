package catalog

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of pictures.
const (
	mostImages    = 12
	mostImageURL  = 2000   // bytes
	mostImageAlt  = 300    // runes
	mostImageSide = 20_000 // pixels
)

// Image is a picture of an event, which stays where it is. Pictures with one Alt and
// one shape are the same one in several sizes.
type Image struct {
	URL    string `json:"url"`
	Alt    string `json:"alt"` // what it shows, for who does not see it
	Width  int    `json:"width"`
	Height int    `json:"height"`
}

// imageURL has no characters that would end an attribute, a candidate of a srcset or
// a header.
var imageURL = regexp.MustCompile(`^[A-Za-z0-9\-._~:/?\[\]@!$&()*+,;=%]*[A-Za-z0-9\-._~/=%]$`)

// ImageOrigin is the origin of a picture's address. ok is false for what is not the
// address of one: https, or http to this machine, without a user.
func ImageOrigin(address string) (origin string, ok bool) {
	if len(address) > mostImageURL || !imageURL.MatchString(address) {
		return "", false
	}
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Hostname() == "" || u.Opaque != "" {
		return "", false
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return "", false
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host, true
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// SamePicture reports whether two are one picture in two sizes.
func (i Image) SamePicture(as Image) bool {
	const tolerance = 0.02 // sizes are whole pixels
	a, b := float64(i.Width)*float64(as.Height), float64(as.Width)*float64(i.Height)
	return i.Alt == as.Alt && a <= b*(1+tolerance) && b <= a*(1+tolerance)
}

// Pictures are the sizes of the first picture that pages may show, by width. An
// origin is one of those that ImageOrigin names.
func Pictures(images []Image, origins []string) []Image {
	var sizes []Image
	for _, i := range images {
		origin, ok := ImageOrigin(i.URL)
		if !ok || !slices.Contains(origins, origin) || len(sizes) > 0 && !sizes[0].SamePicture(i) {
			continue
		}
		sizes = append(sizes, i)
	}
	slices.SortStableFunc(sizes, func(a, b Image) int { return a.Width - b.Width })
	return sizes
}

// images reads the pictures of an event document.
func (r *review) images(root *node) []Image {
	var list []Image
	for _, m := range r.array(root, "images") {
		if !r.object(m, r.strange, "url", "alt", "width", "height") {
			continue
		}
		i := Image{}
		if u := m.given("url"); u != nil {
			i.URL = r.textOf(u, mostImageURL)
		}
		if a := m.given("alt"); a != nil {
			i.Alt = r.textOf(a, mostImageAlt)
		}
		for _, key := range [...]string{"width", "height"} {
			if m.given(key) == nil {
				r.problemf(m, "the %s is missing", key)
			}
		}
		i.Width, i.Height = int(r.integer(m, "width", 1, 1, mostImageSide)), int(r.integer(m, "height", 1, 1, mostImageSide))
		if origin, ok := ImageOrigin(i.URL); ok && !slices.Contains(r.defaults.ImageOrigins, origin) {
			r.noticef(m, "pages do not show pictures of %s, which image_origins does not list; the API has them, search engines and previews of links too", origin)
		}
		list = append(list, i)
	}
	return list
}

func checkImages(r *review, list []Image) {
	if len(list) > mostImages {
		r.problemAtf("$.images", "are more than %d", mostImages)
		return
	}
	for k, i := range list {
		path := "$.images[" + strconv.Itoa(k) + "]"
		if _, ok := ImageOrigin(i.URL); !ok {
			r.problemAtf(path+".url", "must be an https address of at most %d characters; http only of this machine", mostImageURL)
		} else if slices.ContainsFunc(list[:k], func(o Image) bool { return o.URL == i.URL }) {
			r.problemAtf(path+".url", "stands twice")
		}
		switch n := utf8.RuneCountInString(i.Alt); {
		case strings.TrimSpace(i.Alt) == "":
			r.problemAtf(path+".alt", "is missing: what does the picture show?")
		case n > mostImageAlt || hasControl(i.Alt) || !storable(i.Alt):
			r.problemAtf(path+".alt", "must be plain text of at most %d characters", mostImageAlt)
		}
		for _, side := range [...]struct {
			name  string
			value int
		}{{"width", i.Width}, {"height", i.Height}} {
			if side.value < 1 || side.value > mostImageSide {
				r.problemAtf(path+"."+side.name, "must be from 1 to %d pixels", mostImageSide)
			}
		}
	}
}

// imagesOf are the addresses, which say enough of what changes.
func imagesOf(list []Image) []string {
	all := make([]string, len(list))
	for k, i := range list {
		all[k] = fmt.Sprintf("%s %d×%d %s", i.URL, i.Width, i.Height, i.Alt)
	}
	return all
}
