package ec2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// locationRegex compiles valid_ami_location_regex: as with Python's match, it must match at the
// beginning.
func locationRegex(s string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(s); err != nil { // whose error shows what the user wrote
		return nil, err
	}
	return regexp.Compile("^(?:" + s + ")")
}

// A candidate is an image that may be the one.
type candidate struct {
	id, location, group string
	number              *big.Int // of the group; nil: it is no integer
}

// candidates are the images whose locations match.
func candidates(images []types.Image, regex *regexp.Regexp) (all []candidate) {
	for _, i := range images {
		c := candidate{id: orZero(i.ImageId), location: orZero(i.ImageLocation)}
		m := regex.FindStringSubmatch(c.location)
		if m == nil || i.State != types.ImageStateAvailable {
			continue
		}
		if len(m) > 1 {
			c.group = m[1]
			if n, ok := new(big.Int).SetString(strings.TrimSpace(m[1]), 10); ok {
				c.number = n
			}
		}
		all = append(all, c)
	}
	return all
}

// last returns the candidate that sorts last: by the number of the group if all groups are
// numbers, then by the group, then by the location and the id (docs/requirements.md A10.15 to
// A10.17, B4).
func last(all []candidate) candidate {
	numbers := !slices.ContainsFunc(all, func(c candidate) bool { return c.number == nil })
	return slices.MaxFunc(all, func(a, b candidate) int {
		n := 0
		if numbers {
			n = a.number.Cmp(b.number)
		}
		return cmp.Or(n, cmp.Compare(a.group, b.group), cmp.Compare(a.location, b.location), cmp.Compare(a.id, b.id))
	})
}

// choose chooses the image by the owners and the location.
func (b *backend) choose(ctx context.Context, api *client) (candidate, error) {
	regex, err := locationRegex(b.params.LocationRegex)
	if err != nil {
		return candidate{}, err
	}
	in := &ec2.DescribeImagesInput{Owners: b.params.Owners, Filters: []types.Filter{equals("state", "available")}, MaxResults: pointer[int32](1000)}
	var all []candidate
	for more := true; more; more = orZero(in.NextToken) != "" {
		page, err := api.DescribeImages(ctx, in)
		if err != nil {
			return candidate{}, failed("list images", err)
		}
		all, in.NextToken = append(all, candidates(page.Images, regex)...), page.NextToken
	}
	if len(all) == 0 {
		return candidate{}, errors.New("choose image: " + fmt.Sprintf("no available image of %s matches %q", whose(b.params.Owners), b.params.LocationRegex))
	}
	return last(all), nil
}

func whose(owners []string) string {
	if len(owners) == 0 {
		return "anybody"
	}
	return strings.Join(owners, ", ")
}

func equals(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}
