package files

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"holdfast/gateway"
	"holdfast/objects"
)

// The worker, which joins pieces for a client that wants a whole file.

// Worker adds the files' routes.
func Worker(r fiber.Router, env *gateway.Env) {
	r.Get("/files/:folder/:file", func(c *fiber.Ctx) error { return download(c, env) })
	env.Mount(r, "/files/:folder", Folders)
}

// download sends a whole file, piece by piece. The object itself answers a request for a range.
func download(c *fiber.Ctx, env *gateway.Env) error {
	folder, err := gateway.Param("folder")(c)
	if err != nil {
		return err
	}
	name, err := gateway.Param("file")(c)
	if err != nil {
		return err
	}
	if c.Get("Range") != "" {
		return env.Forward(c, env.Object(Folders, folder), "/"+name)
	}
	d := &reader{ctx: context.WithoutCancel(c.UserContext()), to: env.Object(Folders, folder), path: "/" + url.PathEscape(name)}
	first, err := d.next()
	if err != nil {
		return err
	}
	c.Set("Content-Type", first.Get("Content-Type"))
	c.Set("Etag", d.etag)
	return c.SendStream(d, int(d.size))
}

// reader reads a file from its folder, a piece at a time.
type reader struct {
	ctx  context.Context
	to   objects.Ref
	path string
	etag string // of the first piece
	have []byte // bytes that were not read yet
	at   int64  // offset of the next piece
	size int64
}

func (d *reader) Read(p []byte) (int, error) {
	if len(d.have) == 0 {
		if d.at == d.size {
			return 0, io.EOF
		}
		if _, err := d.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.have)
	d.have = d.have[n:]
	return n, nil
}

// next requests the next piece, and returns its headers.
func (d *reader) next() (http.Header, error) {
	r, err := http.NewRequestWithContext(d.ctx, http.MethodGet, d.path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.at))
	answer, err := d.to.Fetch(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if d.have, err = io.ReadAll(answer.Body); err != nil {
		return nil, err
	}
	etag := answer.Header.Get("Etag")
	if answer.StatusCode == http.StatusOK { // the file is empty
		return answer.Header, nil
	}
	switch _, err := fmt.Sscanf(answer.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%%d/%%d", d.at), new(int64), &d.size); {
	case answer.StatusCode == http.StatusNotFound:
		return nil, objects.Errorf(objects.NotFound, "there is no such file")
	case d.etag != "" && d.etag != etag:
		return nil, objects.Errorf(objects.Conflict, "the file was replaced")
	case err != nil:
		return nil, fmt.Errorf("%s: a piece from byte %d is answered with %s", d.path, d.at, answer.Status)
	}
	d.etag, d.at = etag, d.at+int64(len(d.have))
	return answer.Header, nil
}
