// Package ec2test is a small EC2: a server of its Query API that lives in the process of a
// test, keeps what it is told in memory and starts nothing. It answers the calls that starting,
// finding and ending instances take, with the errors of the API reference, and can be told to
// fail as the real one does: no capacity, throttled, a spot price too low, an instance that
// dies, a reply that is lost, a list that lags behind.
//
// All times come from package time, so that in a bubble of testing/synctest, through
// [Server.Transport], a boot of minutes costs nothing.
package ec2test

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say what kind of EC2 it is.
type Options struct {
	Region string // "": us-east-1
	// Keys are the access keys that requests may be signed with: secrets by id. nil: any
	// key that signs, whatever its secret.
	Keys map[string]string
	// Boot is how long an instance is pending, Shutdown how long it is shutting-down, or
	// stopping.
	Boot, Shutdown time.Duration
	// Lag is how long a new instance is in no list and its id unknown, as in one that is
	// consistent eventually only.
	Lag time.Duration
	// NoTokens makes a provider that does not look at client tokens, as copies of EC2 are.
	NoTokens bool
	// OnRun and OnEnd are called, one after the other for one instance, when it is started and
	// when its end begins; they must not call the Server.
	OnRun, OnEnd func(Instance)
}

// Server is the server, an http.Handler. Its methods may be called from any goroutine.
type Server struct {
	o   Options
	URL string // if Start made it

	http *http.Server
	done chan struct{}

	hooks     sync.Mutex // held while OnRun and OnEnd are called
	mu        sync.Mutex
	last      uint64 // id that was given
	calls     []string
	faults    []*Fault
	met       int // calls that met one
	images    map[string]*Image
	keys      map[string]*keyPair
	groups    map[string]*group
	subnets   map[string]*subnet
	instances map[string]*instance
	volumes   map[string]*volume
	addresses map[string]*address
	spots     map[string]*spotRequest
	prices    []Price
	doomed    []reason           // ends of the next instances
	tokens    map[string]*answer // by client token
}

// answer is what a call with a client token came to.
type answer struct {
	asked string
	nodes []node
}

const (
	account = "123456789012" // whose everything is
	amazon  = "137112412989" // whose the first images are
)

// New returns a Server with a default VPC of three zones and two images of Amazon's.
func New(o Options) *Server {
	o.Region = cmp.Or(o.Region, "us-east-1")
	s := &Server{
		o: o, images: map[string]*Image{}, keys: map[string]*keyPair{}, groups: map[string]*group{}, subnets: map[string]*subnet{},
		instances: map[string]*instance{}, volumes: map[string]*volume{}, addresses: map[string]*address{}, spots: map[string]*spotRequest{},
		tokens: map[string]*answer{},
	}
	s.furnish()
	return s
}

// Start serves on a free port of loopback until Close.
func Start(o Options) (*Server, error) {
	s := New(o)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.URL, s.http, s.done = "http://"+listener.Addr().String(), &http.Server{Handler: s}, make(chan struct{})
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener) // until Close
	}()
	return s, nil
}

// Close ends what Start began.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}

// Transport answers requests to any address without a network.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Server }

func (t transport) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.Host = cmp.Or(r.Host, r.URL.Host)
	defer r.Body.Close()
	defer func() {
		if v := recover(); v == http.ErrAbortHandler {
			resp, err = nil, io.ErrUnexpectedEOF
		} else if v != nil {
			panic(v)
		} else if r.Context().Err() != nil {
			resp, err = nil, r.Context().Err()
		}
	}()
	w := httptest.NewRecorder()
	t.s.ServeHTTP(w, r)
	return w.Result(), nil
}

// Calls returns the actions that were asked for, in order, refused ones too.
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Count returns how often an action was asked for.
func (s *Server) Count(action string) (n int) {
	for _, c := range s.Calls() {
		if c == action {
			n++
		}
	}
	return n
}

// apiError is an error of the API.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func refuse(code, format string, args ...any) error {
	return &apiError{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

// actions are what the server can do. They run with mu held.
var actions = map[string]func(*Server, form) ([]node, error){
	"AllocateAddress": (*Server).allocateAddress, "AssociateAddress": (*Server).associateAddress, "DescribeAddresses": (*Server).describeAddresses,
	"DisassociateAddress": (*Server).disassociateAddress, "ReleaseAddress": (*Server).releaseAddress,
	"CreateKeyPair": (*Server).createKeyPair, "DescribeKeyPairs": (*Server).describeKeyPairs, "DeleteKeyPair": (*Server).deleteKeyPair,
	"CreateSecurityGroup": (*Server).createSecurityGroup, "DescribeSecurityGroups": (*Server).describeSecurityGroups,
	"DeleteSecurityGroup": (*Server).deleteSecurityGroup, "AuthorizeSecurityGroupIngress": (*Server).authorizeSecurityGroupIngress,
	"DescribeSubnets": (*Server).describeSubnets, "DescribeInstanceTypes": (*Server).describeInstanceTypes,
	"DescribeImages": (*Server).describeImages, "CreateImage": (*Server).createImage,
	"RunInstances": (*Server).runInstances, "DescribeInstances": (*Server).describeInstances, "DescribeInstanceStatus": (*Server).describeInstanceStatus,
	"DescribeInstanceAttribute": (*Server).describeInstanceAttribute, "TerminateInstances": (*Server).terminateInstances,
	"StopInstances": (*Server).stopInstances, "StartInstances": (*Server).startInstances, "GetConsoleOutput": (*Server).getConsoleOutput,
	"CreateTags": (*Server).createTags, "DescribeTags": (*Server).describeTags,
	"CreateVolume": (*Server).createVolume, "DescribeVolumes": (*Server).describeVolumes, "AttachVolume": (*Server).attachVolume,
	"DetachVolume": (*Server).detachVolume, "DeleteVolume": (*Server).deleteVolume,
	"DescribeSpotPriceHistory": (*Server).describeSpotPriceHistory, "RequestSpotInstances": (*Server).requestSpotInstances,
	"DescribeSpotInstanceRequests": (*Server).describeSpotInstanceRequests, "CancelSpotInstanceRequests": (*Server).cancelSpotInstanceRequests,
}

// ServeHTTP answers a request of the Query API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	values, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost {
		s.reply(w, "", nil, refuse("MalformedQueryString", "the query cannot be read"))
		return
	}
	f := form(values)
	action := f.get("Action")
	fault := s.called(action)
	if !wait(r.Context(), fault.Before) {
		panic(http.ErrAbortHandler)
	}
	var nodes []node
	switch {
	case fault.Code != "":
		err = &apiError{cmp.Or(fault.Status, http.StatusBadRequest), fault.Code, fault.Message}
	case fault.Status != 0:
		w.WriteHeader(fault.Status) // as a proxy does: no code, no XML
		return
	default:
		if err = s.authenticate(r, body); err == nil {
			nodes, err = s.act(action, f)
		}
	}
	if fault.Hold == 0 {
		defer s.tell() // who asked has the answer by then
	} else {
		s.tell()
	}
	if fault.Lose || !wait(r.Context(), fault.Hold) {
		panic(http.ErrAbortHandler)
	}
	s.reply(w, action, nodes, err)
}

// act does what is asked for.
func (s *Server) act(action string, f form) ([]node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do := actions[action]
	if do == nil {
		return nil, refuse("InvalidAction", "The action %s is not valid for this web service.", action)
	}
	s.advance()
	if f.flag("DryRun") && action != "RunInstances" {
		return nil, errDryRun
	}
	nodes, err := do(s, f)
	s.advance()
	return nodes, err
}

var errDryRun = &apiError{http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."}

func (s *Server) reply(w http.ResponseWriter, action string, nodes []node, err error) {
	s.mu.Lock()
	id := s.id("request")
	s.mu.Unlock()
	var buf bytes.Buffer
	buf.WriteString(xml.Header)
	status := http.StatusOK
	if err != nil {
		e := &apiError{http.StatusInternalServerError, "InternalError", err.Error()}
		errors.As(err, &e)
		status = e.status
		tree("Response", tree("Errors", tree("Error", leaf("Code", e.code), leaf("Message", e.message))), leaf("RequestID", id)).write(&buf, "")
	} else {
		tree(action+"Response", append([]node{leaf("requestId", id)}, nodes...)...).write(&buf, "http://ec2.amazonaws.com/doc/2016-11-15/")
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", whole(buf.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // who is gone gets none
	_ = http.NewResponseController(w).Flush()
}

// id returns a new id: i-000000000000002a.
func (s *Server) id(kind string) string {
	s.last++
	return fmt.Sprintf("%s-%017x", kind, s.last)
}

// sorted returns what a map has, by key.
func sorted[T any](m map[string]T) []T {
	var l []T
	for _, k := range slices.Sorted(maps.Keys(m)) {
		l = append(l, m[k])
	}
	return l
}

func done(yes bool) []node { return []node{leaf("return", fmt.Sprint(yes))} }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func plural(ids []string) string { return "'" + strings.Join(ids, ", ") + "'" }
