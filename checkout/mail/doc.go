// Package mail writes the e-mails of the shop and hands them to a mail server.
//
// Every e-mail is written twice, as plain text and as HTML, from templates in
// templates/<language>. Nothing that a person has entered reaches a header or the
// HTML unescaped.
//
// What is guaranteed about sending: [SMTP.Send] returns nil when, and only when, the
// server has taken responsibility for the e-mail. When the connection is cut after
// the whole e-mail was sent and before the server's answer is in, nobody can know
// whether it has, and a caller that tries again may send it twice. Both copies then
// have the same Message-ID. In every other case of an error nothing was sent.
package mail
