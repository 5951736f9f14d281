package bench

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress shows how far a bench is. Its methods may be called from several
// goroutines.
type Progress interface {
	Begin(total int, unit string)
	// Stepf adds n steps and says what goes on.
	Stepf(n int, format string, args ...any)
	// Notef says something that stays to be read.
	Notef(format string, args ...any)
	End()
}

// NewProgress shows a bar on a terminal and plain lines elsewhere.
func NewProgress(w io.Writer) Progress {
	if file, ok := w.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &bar{w: w}
		}
	}
	return &lines{w: w, now: time.Now}
}

type silent struct{}

func (silent) Begin(int, string)         {}
func (silent) Stepf(int, string, ...any) {}
func (silent) Notef(string, ...any)      {}
func (silent) End()                      {}

// bar is a progress bar.
type bar struct {
	w   io.Writer
	mu  sync.Mutex
	bar *progressbar.ProgressBar
}

func (b *bar) Begin(total int, unit string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bar = progressbar.NewOptions(total,
		progressbar.OptionSetWriter(b.w), progressbar.OptionSetItsString(unit),
		progressbar.OptionSetWidth(30), progressbar.OptionShowCount(), progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetPredictTime(false), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

func (b *bar) Stepf(n int, format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bar.Describe(fmt.Sprintf(format, args...))
	_ = b.bar.Add(n)
}

func (b *bar) Notef(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.bar.Clear()
	fmt.Fprintf(b.w, format+"\n", args...)
	_ = b.bar.RenderBlank()
}

func (b *bar) End() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.bar.Finish()
}

// lines prints what a bar would show, seldom.
type lines struct {
	w   io.Writer
	now func() time.Time

	mu          sync.Mutex
	total, done int
	unit        string
	last        time.Time
	text        string
}

// linePause is the least time between two lines of progress.
const linePause = 2 * time.Second

func (l *lines) Begin(total int, unit string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total, l.unit = total, unit
}

func (l *lines) Stepf(n int, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done += n
	text := fmt.Sprintf(format, args...)
	if now := l.now(); text != l.text && (l.last.IsZero() || now.Sub(l.last) >= linePause || l.done >= l.total) {
		l.last, l.text = now, text
		fmt.Fprintf(l.w, "[%d/%d %s] %s\n", l.done, l.total, l.unit, text)
	}
}

func (l *lines) Notef(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, format+"\n", args...)
}

func (l *lines) End() {}
