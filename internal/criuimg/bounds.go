package criuimg

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// maxMessage is the size of the largest message that is read, in bytes: the
	// mappings of a process with a million of them take less.
	maxMessage = 64 << 20
	// maxNested is how many messages a message may have in it. Two bytes are enough
	// to make one, which takes a hundred times as much in memory.
	maxNested = 2 << 20
	// smallMessage is what need not be looked into first.
	smallMessage = 64 << 10
)

// bounded refuses a message that would take far more memory than it has bytes.
func bounded(data []byte, m proto.Message) error {
	if len(data) <= smallMessage {
		return nil
	}
	left := maxNested
	if count(data, m.ProtoReflect().Descriptor(), &left); left < 0 {
		return fmt.Errorf("has more than %d messages in it", maxNested)
	}
	return nil
}

// count takes the messages in a message from left. What is no message ends it: that
// is for who decodes it to find.
func count(data []byte, d protoreflect.MessageDescriptor, left *int) {
	for len(data) > 0 && *left >= 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return
		}
		data = data[n:]
		size := protowire.ConsumeFieldValue(number, kind, data)
		if size < 0 {
			return
		}
		if f := d.Fields().ByNumber(number); f != nil && f.Message() != nil && kind == protowire.BytesType {
			*left--
			inner, _ := protowire.ConsumeBytes(data)
			count(inner, f.Message(), left)
		}
		data = data[size:]
	}
}
