package auth

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"time"

	"holdfast/objects"
)

// Accounts are the accounts that may log in, one object for each name.
const Accounts objects.Class = "login"

var (
	// SignUp makes the account of its name with a password. A name that is taken is a Conflict.
	SignUp = objects.NewCall[string, objects.None](Accounts, "signup")

	// LogIn reports whether the password is the account's. After five wrong ones it is TooMany, for a minute.
	LogIn = objects.NewCall[string, bool](Accounts, "login")
)

var accounts = objects.Implement(Accounts, objects.New[account], objects.On(SignUp, (*account).signUp), objects.On(LogIn, (*account).logIn))

const (
	maxName     = 40
	minPassword = 8
	maxPassword = 200

	mostGuesses = 5 // in a minute
)

// Iterations is how often a password is hashed. OWASP recommends 600,000: a fifth of a second, in which only this
// account waits. Tests set a lower number before anything runs.
var Iterations = 600_000

var (
	secret  = objects.NewKey[hashed]("secret")
	guesses = objects.NewKey[tries]("guesses")
)

// hashed is a password in a form that cannot be read back.
type hashed struct {
	Salt []byte
	Hash []byte
}

// tries are the recent wrong passwords.
type tries struct {
	N    int
	Over time.Time // when they are forgotten
}

type account struct{}

func (*account) signUp(tx *objects.Tx, password string) (objects.None, error) {
	if _, taken := secret.Lookup(tx); taken {
		return nil, objects.Errorf(objects.Conflict, "the name is taken")
	}
	if len(password) < minPassword || len(password) > maxPassword {
		return nil, objects.Errorf(objects.Invalid, "a password has %d to %d bytes", minPassword, maxPassword)
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	secret.Set(tx, hashed{salt, hash(tx, password, salt)})
	return nil, nil
}

// logIn remembers a wrong password. So a wrong password is an answer and not an error: an error would roll the memory
// back.
func (*account) logIn(tx *objects.Tx, password string) (right bool, err error) {
	known, there := secret.Lookup(tx)
	if !there || len(password) > maxPassword {
		return false, nil // SignUp reveals which names exist; nothing is kept of names that do not
	}
	wrong := guesses.Get(tx)
	switch {
	case !tx.Now().Before(wrong.Over):
		wrong = tries{Over: tx.Now().Add(time.Minute)}
	case wrong.N == mostGuesses:
		return false, objects.Errorf(objects.TooMany, "too many wrong passwords; come back later").With("at", wrong.Over)
	}
	if subtle.ConstantTimeCompare(hash(tx, password, known.Salt), known.Hash) == 1 {
		guesses.Delete(tx)
		return true, nil
	}
	wrong.N++
	guesses.Set(tx, wrong)
	return false, nil
}

func hash(tx *objects.Tx, password string, salt []byte) []byte {
	key, err := pbkdf2.Key(sha256.New, password, salt, Iterations, sha256.Size)
	if err != nil {
		tx.Abort(err)
	}
	return key
}

// validName reports whether an account may have this name.
func validName(name string) bool {
	for i := range len(name) {
		if b := name[i]; ('a' > b || b > 'z') && ('0' > b || b > '9') && b != '-' {
			return false
		}
	}
	return 1 <= len(name) && len(name) <= maxName
}
