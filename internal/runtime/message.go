package runtime

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"time"
)

// What the agent of a restore is told over its socket.
const (
	Namespaces = "namespaces" // by the first hook: the init's namespaces exist
	Connect    = "connect"    // by the last hook: the network can be connected
	Start      = "start"      // by `runc start`
	Abort      = "abort"      // by `runc kill` and `runc delete`
)

// Message is one of the above.
type Message struct {
	Do  string `json:"do"`
	PID int    `json:"pid,omitempty"` // of the init, from hooks
}

// Answer is the agent's.
type Answer struct {
	Error string `json:"error,omitempty"`
	// Over says that the restore had ended before it could be aborted.
	Over bool `json:"over,omitempty"`
}

// ErrNoAgent is a restore whose agent has ended, or was killed.
var ErrNoAgent = errors.New("the agent of the restore has ended")

// Ask sends the agent a message and waits for its answer: as long as it takes,
// since the answer is the end of what was asked. ErrNoAgent if there is none.
func (c Control) Ask(m Message) (Answer, error) {
	var a Answer
	conn, err := net.Dial("unix", c.Path(SocketFile))
	if err != nil {
		return a, ErrNoAgent
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(m); err != nil {
		return a, ErrNoAgent
	}
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return a, ErrNoAgent
	}
	return a, nil
}

// Asked is a message with the connection that waits for its answer.
type Asked struct {
	Message
	conn net.Conn
}

// Answer answers and hangs up.
func (a Asked) Answer(answer Answer) {
	_ = json.NewEncoder(a.conn).Encode(answer)
	_ = a.conn.Close()
}

// Listen makes the agent's socket and passes on what arrives. Only root reaches
// the directory.
func (c Control) Listen() (<-chan Asked, io.Closer, error) {
	l, err := net.Listen("unix", c.Path(SocketFile))
	if err != nil {
		return nil, nil, err
	}
	asked := make(chan Asked)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				a := Asked{conn: conn}
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				if json.NewDecoder(conn).Decode(&a.Message) == nil {
					asked <- a
				}
			}()
		}
	}()
	return asked, l, nil
}
