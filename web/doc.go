// Package web is the outermost ring: HTTP routes, WebSockets, cookies, problem
// documents, metrics and the browser pages. It is the only package that knows
// gin and gorilla/websocket.
//
// Handlers do four things and nothing else: read and bound the input, find out
// who is asking, call one service, render its answer or fault. The table from
// fault codes to HTTP statuses stands in problem.go.
package web
