// Package ui holds the built browser pages of onsale.
//
// The files of dist are made by `npm run build` in this folder and are not
// committed. Without them the package still compiles: dist then holds only
// .gitkeep, and the server says how to build the pages.
package ui

import "embed"

// Dist is the folder "dist": one HTML shell per page, hashed files under
// assets/, pre-compressed .br and .gz copies, and csp.json with the hashes of
// the inline scripts and styles of each page.
//
//go:embed all:dist
var Dist embed.FS
