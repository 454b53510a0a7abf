package script

import (
	"crypto/ed25519"
	"encoding/pem"
	"os"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"
)

// keysCmd makes an age identity NAME with its recipient in NAME.pub and $NAME,
// or an SSH key pair:
//
//	keys age NAME
//	keys ssh NAME
func keysCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keys age|ssh NAME")
	}
	var private, public string
	switch args[0] {
	case "age":
		id, err := age.GenerateX25519Identity()
		ts.Check(err)
		private, public = id.String()+"\n", id.Recipient().String()
	case "ssh":
		pub, key, err := ed25519.GenerateKey(nil)
		ts.Check(err)
		block, err := ssh.MarshalPrivateKey(key, "")
		ts.Check(err)
		sshPub, err := ssh.NewPublicKey(pub)
		ts.Check(err)
		private, public = string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(sshPub))
	default:
		ts.Fatalf("no such kind %s", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(private), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]+".pub"), []byte("# a comment\n"+public), 0o600))
	ts.Setenv(args[1], public)
}
