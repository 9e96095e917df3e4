package demo

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"holdfast/examples/demo/race"
	"holdfast/gateway"
	"holdfast/objects"
)

const (
	crashAfter    = 5                      // claims that were answered before
	crashSpread   = 900 * time.Millisecond // time over which claims arrive, so that some are under way
	crashPatience = 8 * time.Second        // until the dead host's last write arrives and another host has taken over
	cutLasts      = 5 * time.Second
)

// crash kills the owner of the counter in the middle of a race.
func (d *demo) crash() (*race.Break, error) {
	faults := d.env.Faults()
	if faults == nil {
		return nil, objects.Errorf(objects.NotFound, "hosts can be killed in dev only")
	}
	return &race.Break{
		After: crashAfter, Last: "replaced", Patience: crashPatience,
		Do: func(owner string, tell func(race.Broken)) error {
			return faults.Kill(owner, func(f gateway.Fault) { tell(race.Broken(f)) })
		},
	}, nil
}

// cut cuts a region off from the network for some seconds.
func (d *demo) cut(c *fiber.Ctx) error {
	faults := d.env.Faults()
	if faults == nil {
		return objects.Errorf(objects.NotFound, "regions can be cut off in dev only")
	}
	region, err := gateway.Param("region")(c)
	if err != nil {
		return err
	}
	if err := faults.Cut(region, cutLasts); err != nil {
		return err
	}
	return c.JSON(fiber.Map{"region": region, "ms": cutLasts.Milliseconds()})
}
