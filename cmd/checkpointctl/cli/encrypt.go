package cli

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/checkpointctl/checkpointctl/internal/checkpoint"
	"github.com/checkpointctl/checkpointctl/internal/config"
	"github.com/checkpointctl/checkpointctl/internal/seal"
)

// encryptFlags are for what makes a checkpoint.
func (d *deps) encryptFlags(f *pflag.FlagSet) {
	d.recipientFlags(f)
	d.stageFlag(f)
}

// recipientFlags are for what encrypts.
func (d *deps) recipientFlags(f *pflag.FlagSet) {
	f.StringArray("encrypt-to", nil, "encrypt to this `recipient`: age1..., ssh-..., or @FILE (repeatable)")
	f.String("passphrase-file", "", "encrypt with the passphrase in the first line of `file`")
	d.bind(f, map[string]string{"encrypt.to": "encrypt-to", "encrypt.passphrase_file": "passphrase-file"})
}

// identityFlags are for what reads one.
func (d *deps) identityFlags(f *pflag.FlagSet) {
	f.String("identity", "", "decrypt with the age identity or SSH private key in `file`")
	f.String("passphrase-file", "", "decrypt with the passphrase in the first line of `file`")
	d.bind(f, map[string]string{"encrypt.identity": "identity", "encrypt.passphrase_file": "passphrase-file"})
}

func (d *deps) stageFlag(f *pflag.FlagSet) {
	f.String("stage", "", "keep unencrypted images in this `directory` meanwhile (default: in memory)")
	d.bind(f, map[string]string{"encrypt.stage": "stage"})
}

// recipients are who a checkpoint is to be encrypted to; nothing for nobody.
func (d *deps) recipients(o checkpointOptions) (*seal.Recipients, error) {
	to, err := seal.ParseRecipients(d.cfg.Encrypt.To, d.cfg.Encrypt.PassphraseFile)
	if err == nil && to != nil && (o.roundsOnly || o.parent != "") {
		err = fmt.Errorf("%w: --parent and pre-dump do not work with encryption; checkpoint --pre-dump does", config.ErrInvalid)
	}
	return to, err
}

// opener opens encrypted checkpoints. What a killed run left unencrypted goes
// first, whether or not there is something to open.
func (d *deps) opener(ctx context.Context) (checkpoint.Opener, error) {
	d.recoverStages(ctx)
	ids, err := seal.ParseIdentities(d.cfg.Encrypt.Identity, d.cfg.Encrypt.PassphraseFile)
	return checkpoint.Opener{Identities: ids, StageDir: d.cfg.Encrypt.Stage}, err
}

// errPlainSealed is of who asks for both.
func errPlainSealed() error { return fmt.Errorf("%w: --plain and encryption", config.ErrInvalid) }
