// Command counter is the application written in Go that the suite checkpoints under
// load: it counts its answers, after a name that it gives itself when it starts.
package main

import (
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
)

func main() {
	name := make([]byte, 8)
	if _, err := rand.Read(name); err != nil {
		log.Fatal(err)
	}
	var n atomic.Int64
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%x %d\n", name, n.Add(1))
	})
	log.Fatal(http.ListenAndServe(":8000", nil)) // without timeouts: its clients are away for a while
}
