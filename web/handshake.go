package web

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 has it so; it protects nothing
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"strings"

	"onsale/internal/fault"
)

// handshake is what the opening request of a waiting visitor's WebSocket asks
// for (RFC 6455, section 4.2.1). It is read before anything is done for the
// visitor, and answered afterwards, in one write with the first frame.
type handshake struct {
	key         string
	subprotocol bool // the client speaks ours
}

const (
	webSocketVersion = "13"
	webSocketGUID    = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // of RFC 6455
	webSocketKey     = 16                                     // bytes behind a key
)

// readHandshake returns fault.Invalid for what is no valid handshake.
func readHandshake(r *http.Request) (handshake, error) {
	key := only(r.Header["Sec-Websocket-Key"])
	nonce, err := base64.StdEncoding.DecodeString(key)
	switch {
	case !names(r.Header["Connection"], "upgrade") || !names(r.Header["Upgrade"], "websocket"):
		return handshake{}, fault.New(fault.Invalid, "the WebSocket handshake is not valid: Connection must name upgrade, and Upgrade websocket")
	case only(r.Header["Sec-Websocket-Version"]) != webSocketVersion:
		return handshake{}, fault.New(fault.Invalid, "the WebSocket handshake is not valid: Sec-WebSocket-Version must be %s", webSocketVersion)
	case err != nil || len(nonce) != webSocketKey:
		return handshake{}, fault.New(fault.Invalid, "the WebSocket handshake is not valid: Sec-WebSocket-Key must be %d bytes in base64", webSocketKey)
	}
	return handshake{key: key, subprotocol: names(r.Header["Sec-Websocket-Protocol"], subprotocol)}, nil
}

// only is a header that may be given once.
func only(header []string) string {
	if len(header) != 1 {
		return ""
	}
	return header[0]
}

// names reports whether a header that is a list has an entry, in any case.
func names(header []string, entry string) bool {
	for _, line := range header {
		for line != "" {
			var one string
			one, line, _ = strings.Cut(line, ",")
			if strings.EqualFold(strings.Trim(one, " \t"), entry) {
				return true
			}
		}
	}
	return false
}

// appendAnswer appends the answer that accepts the handshake.
func (s handshake) appendAnswer(dst []byte, cookies []string) []byte {
	sum := sha1.Sum([]byte(s.key + webSocketGUID)) //nolint:gosec // see above
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = append(base64.StdEncoding.AppendEncode(dst, sum[:]), "\r\n"...)
	if s.subprotocol {
		dst = append(dst, "Sec-WebSocket-Protocol: "+subprotocol+"\r\n"...)
	}
	for _, cookie := range cookies {
		dst = append(append(append(dst, "Set-Cookie: "...), cookie...), "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

var errEarly = errors.New("the client sent something before the handshake was answered")

// takeOver takes the connection of a request from the HTTP server.
func takeOver(w http.ResponseWriter) (net.Conn, error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	if buffered.Reader.Buffered() > 0 {
		_ = conn.Close()
		return nil, errEarly
	}
	if c, ok := conn.(*quickConn); ok {
		return c.TCPConn, nil
	}
	return conn, nil
}
