package web

import (
	"strings"

	"github.com/gin-gonic/gin"
)

// checkoutFile is the shell of the page that takes payments.
const checkoutFile = "checkout.html"

// withStripe lets a page's policy load Stripe's script and what that opens, as
// Stripe documents it for the Payment Element: scripts and frames from js.stripe.com,
// the banks' pages in frames of hooks.stripe.com, and calls of api.stripe.com.
func withStripe(policy string) string {
	const own, js = " 'self'", " https://js.stripe.com https://*.js.stripe.com"
	return strings.NewReplacer(
		"script-src"+own, "script-src"+own+js,
		"connect-src"+own, "connect-src"+own+" https://api.stripe.com",
	).Replace(policy) + "; frame-src" + js + " https://hooks.stripe.com"
}

// checkoutPage is strict like every page, but for Stripe where that takes the money.
func (s *Server) checkoutPage() gin.HandlerFunc {
	page := s.plainPage(checkoutFile, "Checkout")
	if s.StripeKey == "" {
		return page
	}
	if policy, ok := s.pages.csp[checkoutFile]; ok {
		s.pages.csp[checkoutFile] = withStripe(policy)
	}
	return func(c *gin.Context) {
		// Wallets open windows that answer to the page.
		c.Header("Cross-Origin-Opener-Policy", "same-origin-allow-popups")
		page(c)
	}
}
