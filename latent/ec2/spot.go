package ec2

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const (
	priceWindow = 24 * time.Hour
	noHistory   = 0.02 // dollars, where there is no price to multiply (B4)
)

// bid returns what a spot instance may cost, in dollars an hour (docs/requirements.md A10.25,
// A10.26, B4).
func (b *backend) bid(ctx context.Context, api *client, kind, zone string, log func(string)) (float64, error) {
	p := b.params
	if p.PriceMultiplier == nil {
		return *p.MaxSpotPrice, nil
	}
	mean, n, err := b.meanPrice(ctx, api, kind, zone)
	if err != nil {
		return 0, err
	}
	price := noHistory
	if n > 0 {
		price = mean * *p.PriceMultiplier
	}
	if p.MaxSpotPrice != nil {
		price = min(price, *p.MaxSpotPrice)
	}
	log(fmt.Sprintf("spot instance: the mean of %d prices of the last 24 hours is $%s; bid $%s an hour\n", n, dollars(mean), dollars(price)))
	return price, nil
}

func (b *backend) meanPrice(ctx context.Context, api *client, kind, zone string) (mean float64, n int, err error) {
	now := time.Now()
	begin := now.Add(-priceWindow)
	in := &ec2.DescribeSpotPriceHistoryInput{
		StartTime: &begin, EndTime: &now, InstanceTypes: []types.InstanceType{types.InstanceType(kind)}, ProductDescriptions: []string{b.params.ProductDescription},
	}
	if zone != "" {
		in.AvailabilityZone = &zone
	}
	sum := 0.0
	for more := true; more; more = orZero(in.NextToken) != "" {
		page, err := api.DescribeSpotPriceHistory(ctx, in)
		if err != nil {
			return 0, 0, failed("list spot prices", err)
		}
		in.NextToken = page.NextToken
		for _, p := range page.SpotPriceHistory {
			v, err := strconv.ParseFloat(orZero(p.SpotPrice), 64)
			if err != nil {
				return 0, 0, fmt.Errorf("list spot prices: %q is no price", orZero(p.SpotPrice))
			}
			sum += v
			n++
		}
	}
	return sum / float64(max(n, 1)), n, nil
}

// dollars writes a price as the API takes it.
func dollars(v float64) string { return strconv.FormatFloat(math.Round(v*1e6)/1e6, 'f', -1, 64) }

// spotStatus says what became of a request for a spot instance; "" if that cannot be found out.
func spotStatus(ctx context.Context, api *client, id string) string {
	out, err := api.DescribeSpotInstanceRequests(ctx, &ec2.DescribeSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{id}})
	if err != nil || len(out.SpotInstanceRequests) == 0 || out.SpotInstanceRequests[0].Status == nil {
		return ""
	}
	s := out.SpotInstanceRequests[0].Status
	return fmt.Sprintf("; spot request %s: %s: %s", id, orZero(s.Code), orZero(s.Message))
}
