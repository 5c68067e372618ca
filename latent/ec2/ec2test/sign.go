package ec2test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// authorization is how a request is signed: Signature Version 4 of the AWS API.
var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/([0-9]{8})/([^/]+)/([^/]+)/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$`)

const stampForm = "20060102T150405Z"

// authenticate checks who signed a request, when, and that it is as it was signed.
func (s *Server) authenticate(r *http.Request, body []byte) error {
	m := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return &apiError{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	}
	key, day, region, service, names, signature := m[1], m[2], m[3], m[4], m[5], m[6]
	at, err := time.Parse(stampForm, r.Header.Get("X-Amz-Date"))
	if err != nil || !strings.HasPrefix(r.Header.Get("X-Amz-Date"), day) {
		return &apiError{http.StatusForbidden, "IncompleteSignature", "Date must be in ISO-8601 'basic format'."}
	}
	if skew := time.Since(at); skew.Abs() > 5*time.Minute {
		return refuse("RequestExpired", "Request has expired.")
	}
	if region != s.o.Region || service != "ec2" {
		return &apiError{http.StatusUnauthorized, "AuthFailure", "Credential should be scoped to a valid region, not '" + region + "'."}
	}
	if s.o.Keys == nil {
		return nil
	}
	secret, ok := s.o.Keys[key]
	if !ok {
		return &apiError{http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"}
	}
	scope := strings.Join([]string{day, region, service, "aws4_request"}, "/")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), scope, digest(canonical(r, names, body))}, "\n")
	sum := []byte("AWS4" + secret)
	for _, part := range []string{day, region, service, "aws4_request", text} {
		h := hmac.New(sha256.New, sum)
		h.Write([]byte(part))
		sum = h.Sum(nil)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(sum)), []byte(signature)) {
		return &apiError{http.StatusForbidden, "SignatureDoesNotMatch",
			"The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."}
	}
	return nil
}

// canonical is what of a request is signed.
func canonical(r *http.Request, names string, body []byte) string {
	var headers strings.Builder
	for _, name := range strings.Split(names, ";") {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = whole(len(body))
		}
		headers.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	return strings.Join([]string{r.Method, path, query(r.URL.Query()), headers.String(), names, digest(string(body))}, "\n")
}

func query(v url.Values) string {
	parts := strings.Split(strings.ReplaceAll(v.Encode(), "+", "%20"), "&")
	slices.Sort(parts)
	return strings.Join(parts, "&")
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
