package pass

import (
	"net/url"
	"strings"
)

// Parameter is the query parameter in which a pass is handed over to a
// protected site on another host, which cannot see our cookies. The site takes
// it out of the address at once.
const Parameter = "onsale_pass"

// HandOver returns u with token as its only Parameter.
func HandOver(u *url.URL, token string) *url.URL {
	to := *u
	_, rest := TakeOver(u.RawQuery)
	if rest != "" {
		rest += "&"
	}
	to.RawQuery = rest + Parameter + "=" + url.QueryEscape(token)
	return &to
}

// TakeOver takes the pass out of a query and returns it, "" if there is none,
// with the rest of the query as it was. Of several, the first counts and all
// are taken out, however their name is spelled.
func TakeOver(rawQuery string) (token, rest string) {
	if !strings.Contains(rawQuery, "onsale") && !strings.Contains(rawQuery, "%") {
		return "", rawQuery
	}
	var kept []string
	for pair := range strings.SplitSeq(rawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err != nil || plain != Parameter {
			kept = append(kept, pair)
			continue
		}
		if v, err := url.QueryUnescape(value); err == nil && token == "" {
			token = v
		}
	}
	return token, strings.Join(kept, "&")
}
