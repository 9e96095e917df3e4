package gateway

import (
	"context"
	"mime"
	pathpkg "path"

	"github.com/gofiber/fiber/v2"

	js "holdfast/clients/js"
	"holdfast/objects"
)

// ServeClient serves the JavaScript client for browsers below a path, as "/client": a page imports
// connect and route from /client/index.js.
func (e *Env) ServeClient(r fiber.Router, path string) {
	r.Get(path+"/:file", func(c *fiber.Ctx) error {
		name := c.Params("file")
		data, err := js.Files.ReadFile(name)
		if err != nil {
			return objects.Errorf(objects.NotFound, "the client has no such file")
		}
		c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
		c.Set(fiber.HeaderCacheControl, "no-cache") // a newer binary must be able to replace it at once
		c.Set(fiber.HeaderContentType, mime.TypeByExtension(pathpkg.Ext(name)))
		return c.Send(data)
	})
}

// Faults returns the failures that can be caused; nil everywhere but in dev.
func (e *Env) Faults() Faults { return e.g.cfg.Faults }

// Answered reports the owner that answered last, in a context of Watch.
type Answered struct {
	Host, Region string
	Epoch        uint64 // 0: none has answered
	Woke         bool   // the object slept before
}

// Watch returns a context for calls of objects, and a function that returns the owner which answered last in it.
func (e *Env) Watch(ctx context.Context) (watching context.Context, who func() Answered) {
	s := new(requestScope)
	return context.WithValue(ctx, scopeKey{}, s), func() Answered {
		s.mu.Lock()
		defer s.mu.Unlock()
		return Answered{s.owner.Host, s.owner.Region, s.owner.Epoch, s.woke}
	}
}
