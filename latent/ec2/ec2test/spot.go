package ec2test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Price is what a spot instance costs from a time on.
type Price struct {
	Type, Product, Zone string // Product: Linux/UNIX
	Time                time.Time
	Dollars             float64 // an hour
}

// SetPrices replaces the history of spot prices. Until then every type costs 2 cents, and cost
// 3 half a day ago.
func (s *Server) SetPrices(prices []Price) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prices = slices.Clone(prices)
}

// history returns the prices of a type, newest first.
func (s *Server) history(kind string) (all []Price) {
	if s.prices == nil {
		for _, n := range sorted(s.subnets) {
			for age, dollars := range map[time.Duration]float64{time.Hour: 0.02, 12 * time.Hour: 0.03} {
				all = append(all, Price{kind, "Linux/UNIX", n.zone, time.Now().Add(-age), dollars})
			}
		}
	}
	for _, p := range s.prices {
		if p.Type == kind {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b Price) int { return b.Time.Compare(a.Time) })
	return all
}

// price is what a type costs now; ok is false if nobody sells it.
func (s *Server) price(kind, zone string) (dollars float64, ok bool) {
	for _, p := range s.history(kind) {
		if p.Zone == zone && !p.Time.After(time.Now()) {
			return p.Dollars, true
		}
	}
	return 0, false
}

// checkPrice refuses an instance that nobody sells for this; "" is any price.
func (s *Server) checkPrice(p *plan, most string) error {
	now, ok := s.price(p.f.get("InstanceType"), p.subnet.zone)
	if !ok {
		return &apiError{500, "InsufficientInstanceCapacity", "There is no Spot capacity available that matches your request."}
	}
	if most == "" {
		return nil
	}
	bid, err := strconv.ParseFloat(most, 64)
	if err != nil || bid <= 0 {
		return refuse("InvalidParameterValue", "Invalid value '%s' for spot max price.", most)
	}
	if bid < now {
		return refuse("SpotMaxPriceTooLow", "Your Spot request price of %s is lower than the minimum required Spot request fulfillment price of %g.", most, now)
	}
	return nil
}

// plain is a product as the history has it.
func plain(product string) string { return strings.TrimSuffix(product, " (Amazon VPC)") }

func (s *Server) describeSpotPriceHistory(f form) ([]node, error) {
	from, to := time.Time{}, time.Now()
	for name, t := range map[string]*time.Time{"StartTime": &from, "EndTime": &to} {
		if v := f.get(name); v != "" {
			var err error
			if *t, err = time.Parse(time.RFC3339, v); err != nil {
				return nil, refuse("InvalidParameterValue", "Invalid time %s", v)
			}
		}
	}
	products, zone := f.list("ProductDescription"), f.get("AvailabilityZone")
	var found []Price
	for _, kind := range f.list("InstanceType") {
		before := map[string]bool{} // zones whose price at the beginning is there
		for _, p := range s.history(kind) {
			if p.Time.After(to) || zone != "" && p.Zone != zone ||
				len(products) > 0 && !slices.ContainsFunc(products, func(want string) bool { return plain(want) == plain(p.Product) }) {
				continue
			}
			if p.Time.Before(from) {
				if before[p.Zone] {
					continue
				}
				before[p.Zone] = true
			}
			found = append(found, p)
		}
	}
	found, more, err := page(f, found, 1)
	return append([]node{items("spotPriceHistorySet", found, func(p Price) []node {
		return []node{leaf("instanceType", p.Type), leaf("productDescription", p.Product), leaf("spotPrice", fmt.Sprintf("%.6f", p.Dollars)), leaf("timestamp", stamp(p.Time)), leaf("availabilityZone", p.Zone)}
	})}, more...), err
}

// A spotRequest asks for one instance, once.
type spotRequest struct {
	id, price            string
	state, code, message string
	plan                 *plan
	instance             *instance
	tags                 map[string]string
	made                 time.Time
}

func (s *Server) addSpot(r *spotRequest) *spotRequest {
	r.id, r.made = s.id("sir"), time.Now()
	r.state, r.code, r.message = "open", "pending-evaluation", "Your Spot request has been submitted for review, and is pending evaluation."
	s.spots[r.id] = r
	return r
}

func (r *spotRequest) fulfil(i *instance) {
	r.instance, r.state, r.code, r.message = i, "active", "fulfilled", "Your spot request is fulfilled."
	i.SpotRequest, i.MaxPrice = r.id, r.price
}

// advance follows the instance to its end.
func (r *spotRequest) advance() {
	if r.instance == nil || r.state != "active" || r.instance.ended.IsZero() {
		return
	}
	r.state, r.code, r.message = "closed", "instance-terminated-by-user", "Spot Instance terminated due to user-initiated termination."
	if r.instance.why.code == "Server.SpotInstanceTermination" {
		r.code, r.message = "instance-terminated-no-capacity", "Spot Instance terminated: there is no capacity."
	}
}

func (r *spotRequest) nodes() []node {
	n := []node{
		leaf("spotInstanceRequestId", r.id), leaf("spotPrice", r.price), leaf("type", "one-time"), leaf("state", r.state), leaf("createTime", stamp(r.made)),
		tree("status", leaf("code", r.code), leaf("message", r.message), leaf("updateTime", stamp(r.made))), tagSet(r.tags),
	}
	if r.instance != nil {
		n = append(n, leaf("instanceId", r.instance.ID))
	}
	return n
}

// requestSpotInstances is the older way, whose price is looked at when the request is
// evaluated.
func (s *Server) requestSpotInstances(f form) ([]node, error) {
	p, err := s.plan(f.part("LaunchSpecification"))
	if err != nil {
		return nil, err
	}
	if err := checkTags(f); err != nil {
		return nil, err
	}
	count, err := f.number("InstanceCount", 1)
	if err != nil {
		return nil, err
	}
	var made []*spotRequest
	for range count {
		made = append(made, s.addSpot(&spotRequest{price: f.get("SpotPrice"), plan: p, tags: tagsFor(f, "spot-instances-request")}))
	}
	nodes := []node{items("spotInstanceRequestSet", made, (*spotRequest).nodes)}
	for _, r := range made {
		if err := s.checkPrice(p, r.price); err != nil {
			r.code, r.message = "price-too-low", err.(*apiError).message
			continue
		}
		r.fulfil(s.launch(p))
	}
	return nodes, nil
}

func (s *Server) describeSpotInstanceRequests(f form) ([]node, error) {
	if err := f.known("SpotInstanceRequestId", "InvalidSpotInstanceRequestID.NotFound", "The spot instance request ID '%s' does not exist", func(id string) bool { return s.spots[id] != nil }); err != nil {
		return nil, err
	}
	ids := f.list("SpotInstanceRequestId")
	var found []*spotRequest
	for _, r := range sorted(s.spots) {
		user := ""
		if r.instance != nil {
			user = r.instance.ID
		}
		ok, err := f.match(attributes{"spot-instance-request-id": {r.id}, "state": {r.state}, "status-code": {r.code}, "instance-id": {user}}.of(r.tags))
		if err != nil {
			return nil, err
		}
		if ok && (len(ids) == 0 || slices.Contains(ids, r.id)) {
			found = append(found, r)
		}
	}
	return []node{items("spotInstanceRequestSet", found, (*spotRequest).nodes)}, nil
}

func (s *Server) cancelSpotInstanceRequests(f form) ([]node, error) {
	var all []*spotRequest
	for _, id := range f.list("SpotInstanceRequestId") {
		r := s.spots[id]
		if r == nil {
			return nil, refuse("InvalidSpotInstanceRequestID.NotFound", "The spot instance request ID '%s' does not exist", id)
		}
		all = append(all, r)
	}
	for _, r := range all {
		if r.state != "closed" { // the instance lives on
			r.state = "cancelled"
			if r.code = "canceled-before-fulfillment"; r.instance != nil {
				r.code = "request-canceled-and-instance-running"
			}
		}
	}
	return []node{items("spotInstanceRequestSet", all, func(r *spotRequest) []node {
		return []node{leaf("spotInstanceRequestId", r.id), leaf("state", r.state)}
	})}, nil
}

// SpotRequests returns the states of the requests for spot instances that have these tags.
func (s *Server) SpotRequests(tags map[string]string) (states []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance()
	for _, r := range sorted(s.spots) {
		if subset(tags, r.tags) {
			states = append(states, r.state)
		}
	}
	return states
}
