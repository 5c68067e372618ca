package util

import (
	"strings"
	"testing"
)

func TestConnection(t *testing.T) {
	if got := value[*LibvirtConnection](t, `x = util.Connection("qemu:///session")`); got.URI != "qemu:///session" {
		t.Errorf("%+v", got)
	}
	if _, ps := eval(t, `x = util.Connection("")`); len(ps) != 1 || !strings.Contains(ps[0].Text, "URI is empty") {
		t.Errorf("%+v", ps)
	}
}
