package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

func TestWhoWeAreForNATSIsReadFromFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "some")
	if err := os.WriteFile(file, []byte("no seed"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args []string
		want string
	}{
		{[]string{"--creds", filepath.Join(dir, "none")}, "--creds"},
		{[]string{"--nkey", file}, "--nkey"},
		{[]string{"--creds", file, "--nkey", file}, "--nkey"},
		{[]string{"--tls-cert", file}, "--tls-key"},
		{[]string{"--tls-ca", filepath.Join(dir, "none")}, "--tls-ca"},
	} {
		code, _, errs := run(t, append([]string{"ls", "--nats", "nats://127.0.0.1:1"}, row.args...)...)
		if code != 2 || !strings.Contains(errs, row.want) {
			t.Errorf("%v: exit %d, %s; want 2 and %s named", row.args, code, errs, row.want)
		}
	}
}

// authority makes certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its own certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key = a.newKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the test's authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der := a.sign(template, template, a.key)
	a.cert, _ = x509.ParseCertificate(der) // it was just made
	a.file = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	return writeSecret(a.t, filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// certify returns the files of a new certificate and its key.
func (a *authority) certify(name string) (cert, key string) {
	a.t.Helper()
	own := a.newKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", a.sign(template, a.cert, own)), a.write(name+".key", "PRIVATE KEY", der)
}

func writeSecret(t *testing.T, file string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// server returns the options of a server that takes only clients with a certificate of a.
func (a *authority) server() *server.Options {
	a.t.Helper()
	cert, key := a.certify("nats")
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AddCert(a.cert)
	return &server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: a.t.TempDir(),
		TLS: true, TLSVerify: true, TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: known, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
	}
}

// startServer returns the URL of a stock server.
func startServer(t *testing.T, opts *server.Options) string {
	t.Helper()
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("server not ready")
	}
	return s.ClientURL()
}

// newNkey returns a new user and the file of the user's seed.
func newNkey(t *testing.T) (user nkeys.KeyPair, public, file string) {
	t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err = user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return user, public, writeSecret(t, filepath.Join(t.TempDir(), "seed"), seed)
}

// runsWith runs a host, a gateway and ls, and wants a ticket and the object in the list.
func runsWith(t *testing.T, url string, serving, writing []string) {
	t.Helper()
	nats := append([]string{"--nats", url, "--region", "fra"}, serving...)
	state := make([]string, len(writing)) // the same flags, for --state-nats
	for i, arg := range writing {
		state[i] = strings.Replace(strings.Replace(arg, "--", "--state-", 1), "--state-tls-ca", "--tls-ca", 1)
	}
	serve(t, append(append([]string{"host"}, nats...), state...)...)
	_, g := serve(t, append([]string{"gateway", "--listen", "127.0.0.1:0"}, nats...)...)
	if status, body := fetch(t, http.MethodPost, g.URL+"/ticket/x"); status != http.StatusOK || !strings.HasPrefix(body, `{"ticket":`) {
		t.Errorf("a ticket = %d %s", status, body)
	}
	reading := serving
	if len(writing) > 0 {
		reading = writing
	}
	if code, out, errs := run(t, append([]string{"ls", "--nats", url}, reading...)...); code != 0 || !strings.Contains(out, "ticket/x") {
		t.Errorf("ls = %d, want the object:\n%s%s", code, out, errs)
	}
}

// The user of gateways and of what hosts serve cannot write state; a second one can.
func TestAServerWithTLSAndNkeysIsUsedByTwoUsers(t *testing.T) {
	ca := newAuthority(t)
	opts := ca.server()
	_, public, seed := newNkey(t)
	_, statePublic, stateSeed := newNkey(t)
	opts.Nkeys = []*server.NkeyUser{
		{Nkey: public, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$KV.>", "$JS.>"}}}},
		{Nkey: statePublic},
	}
	url := startServer(t, opts)
	cert, key := ca.certify("client")
	whole := []string{"--tls-ca", ca.file, "--tls-cert", cert, "--tls-key", key}
	runsWith(t, url, append(whole, "--nkey", seed), append(whole, "--nkey", stateSeed))

	stranger, strangersKey := newAuthority(t).certify("stranger")
	_, _, unknown := newNkey(t)
	for _, row := range []struct {
		what string
		args []string
		code int
		hint string
	}{
		{"no authority", append(whole[2:], "--nkey", stateSeed), 7, "--tls-ca FILE"},
		{"another authority", []string{"--tls-ca", newAuthority(t).file, "--tls-cert", cert, "--tls-key", key, "--nkey", stateSeed}, 7, "--tls-ca FILE"},
		{"no certificate", []string{"--tls-ca", ca.file, "--nkey", stateSeed}, 7, "--tls-cert FILE"},
		{"a stranger's certificate", []string{"--tls-ca", ca.file, "--tls-cert", stranger, "--tls-key", strangersKey, "--nkey", stateSeed}, 7, "--tls-cert FILE"},
		{"no user", whole, 6, "--nkey FILE"},
		{"a user whom nobody knows", append(whole, "--nkey", unknown), 6, "--nkey FILE"},
	} {
		if code, out, errs := run(t, append([]string{"ls", "--nats", url}, row.args...)...); code != row.code || out != "" || !strings.Contains(errs, row.hint) {
			t.Errorf("ls with %s = %d, want %d and %s:\n%s%s", row.what, code, row.code, row.hint, out, errs)
		}
	}
}

func TestAServerWithJWTIsUsedWithACredentialsFile(t *testing.T) {
	operator, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	operatorPublic, err := operator.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	accounts := &server.MemAccResolver{}
	account := func(jetStream bool) (nkeys.KeyPair, string) {
		t.Helper()
		pair, err := nkeys.CreateAccount()
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		claims := jwt.NewAccountClaims(public)
		if jetStream {
			claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		}
		text, err := claims.Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		if err := accounts.Store(public, text); err != nil {
			t.Fatal(err)
		}
		return pair, public
	}
	_, system := account(false)
	owner, _ := account(true)
	url := startServer(t, &server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		TrustedKeys: []string{operatorPublic}, AccountResolver: accounts, SystemAccount: system,
	})
	credentials := func() string {
		t.Helper()
		user, public, file := newNkey(t)
		text, err := jwt.NewUserClaims(public).Encode(owner)
		if err != nil {
			t.Fatal(err)
		}
		seed, err := user.Seed()
		if err != nil {
			t.Fatal(err)
		}
		config, err := jwt.FormatUserConfig(text, seed)
		if err != nil {
			t.Fatal(err)
		}
		return writeSecret(t, file+".creds", config)
	}
	runsWith(t, url, []string{"--creds", credentials()}, nil)
	runsWith(t, url, []string{"--creds", credentials()}, []string{"--creds", credentials()})
	if code, out, errs := run(t, "ls", "--nats", url); code != 6 || out != "" || !strings.Contains(errs, "--creds FILE") {
		t.Errorf("ls of nobody = %d, want 6 and how to say who asks:\n%s%s", code, out, errs)
	}
}
