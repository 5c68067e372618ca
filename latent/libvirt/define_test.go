package libvirt

import (
	"encoding/base64"
	"encoding/xml"
	"strings"
	"testing"

	"buildstar/latent"
)

// meant is an instance with everything.
func meant(text string) *definition {
	return &definition{
		text: text, format: "qcow2",
		instance: instance{master: "M1", worker: "w&1", attempt: 7, disk: "/srv/it's <new>.qcow2", console: "/var/7.console"},
		launch: latent.Launch{
			Ref: latent.Ref{Worker: "w&1", Attempt: 7}, Password: `p"w$'`, Host: "fd00::1", Port: 9989,
		},
	}
}

// define defines it, and reads the result as libvirt would.
func define(t *testing.T, d *definition) (string, *element) {
	t.Helper()
	text, err := d.define()
	if err != nil {
		t.Fatal(err)
	}
	if err := xml.Unmarshal([]byte(text), new(struct{})); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	domain, err := parseDomain(text)
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if i, ok := instanceOf(domain); !ok || i != d.instance {
		t.Errorf("the metadata say %+v:\n%s", i, text)
	}
	if n := domain.all("name"); len(n) != 1 || n[0].text != d.worker {
		t.Errorf("the name is wrong:\n%s", text)
	}
	return text, domain
}

// Whatever a definition has already, the instance's is in it once, and the rest stays.
func TestDefine(t *testing.T) {
	const kvm = `<os><type arch='x86_64'>hvm</type></os>`
	for name, c := range map[string]struct{ text, keeps string }{
		"nothing":    {`<domain type='kvm'/>`, ""},
		"small":      {plainDomain, "<memory unit='GiB'>1</memory>"},
		"declared":   {`<?xml version='1.0'?><!-- mine --><domain type='kvm'>` + kvm + `</domain>`, "<!-- mine -->"},
		"namespaces": {`<domain type='kvm' xmlns:qemu='http://q'><qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>`, "<qemu:arg value='-x'/>"},
		"metadata":   {`<domain type='kvm'><metadata><a:b xmlns:a='c'>&amp;</a:b></metadata></domain>`, "<a:b xmlns:a='c'>&amp;</a:b>"},
		"empty":      {`<domain type='kvm'><metadata/><devices/><os/></domain>`, ""},
		"ours":       {meant("").instance.String(), ""},
		"sysinfo":    {`<domain type='kvm'>` + kvm + `<sysinfo type='smbios'><oemStrings><entry>mine</entry></oemStrings></sysinfo></domain>`, "<entry>mine</entry>"},
		"serial":     {`<domain type='kvm'><devices><serial type='file'><source path='/f'/></serial></devices></domain>`, "<source path='/f'/>"},
		"console":    {`<domain type='kvm'><devices><console type='pty'/></devices></domain>`, ""},
		"virtio":     {`<domain type='kvm'><devices><console type='pty'><target type='virtio'/></console></devices></domain>`, "<target type='virtio'/>"},
		"logged":     {`<domain type='kvm'><devices><serial type='pty'><log file='/old'/></serial></devices></domain>`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "ours" {
				c.text = "<domain type='kvm'><metadata>" + strings.ReplaceAll(c.text, "attempt='7'", "attempt='3'") + "</metadata></domain>"
			}
			text, domain := define(t, meant(c.text))
			if !strings.Contains(text, c.keeps) {
				t.Errorf("it has lost %s:\n%s", c.keeps, text)
			}
			disks := 0
			for _, e := range domain.all("devices", "disk") {
				if e.first("source").attr("file") == "/srv/it's <new>.qcow2" && e.first("driver").attr("type") == "qcow2" && e.first("target").has() {
					disks++
				}
			}
			logs := append(domain.all("devices", "serial", "log"), domain.all("devices", "console", "log")...)
			if disks != 1 || len(logs) != 1 || logs[0].attr("file") != "/var/7.console" || logs[0].attr("append") != "on" {
				t.Errorf("%d disks, %d logs:\n%s", disks, len(logs), text)
			}
			if auth := domain.first("metadata", authName); auth.attr("username") != "w&1" || auth.attr("password") != `p"w$'` || auth.attr("master") != "[fd00::1]:9989" {
				t.Errorf("auth is %+v", auth.attrs)
			}
		})
	}
}

// The disk of the instance takes the place of the first one, and has its settings.
func TestDefineDisk(t *testing.T) {
	const text = `<domain type='kvm'><devices>
		<disk type='file' device='cdrom'><source file='/a.iso'/><target dev='sda'/></disk>
		<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' io='native'/><source dev='/dev/x'/><backingStore/><target dev='vda' bus='virtio'/><boot order='1'/></disk>
		<disk type='file'><source file='/data.img'/><target dev='vdb'/></disk>
	</devices></domain>`
	d := meant(text)
	d.disk = "/new.img"
	out, domain := define(t, d)
	disks := domain.all("devices", "disk")
	if len(disks) != 3 || disks[0].first("source").attr("file") != "/a.iso" || disks[2].first("source").attr("file") != "/data.img" {
		t.Fatal(out)
	}
	got, driver := disks[1], disks[1].first("driver")
	if got.attr("type") != "file" || got.first("source").attr("file") != "/new.img" || got.first("source").attr("dev") != "" || got.first("backingStore").has() ||
		got.first("target").attr("dev") != "vda" || got.first("boot").attr("order") != "1" {
		t.Error(out)
	}
	if driver.attr("type") != "qcow2" || driver.attr("cache") != "none" || driver.attr("io") != "native" {
		t.Errorf("the driver is %+v", driver.attrs)
	}
	// One that has the path already is the one, whichever it is.
	d.disk = "/data.img"
	if out, domain = define(t, d); domain.all("devices", "disk")[2].first("driver").attr("type") != "qcow2" || !strings.Contains(out, "/dev/x") {
		t.Error(out)
	}
}

// A definition of the user's is made new; one that libvirt has is started as what it is.
func TestDefineUUID(t *testing.T) {
	d := meant(`<domain type='kvm'><uuid>1</uuid><name>other</name></domain>`)
	if _, domain := define(t, d); domain.first("uuid").has() {
		t.Error("it keeps the uuid")
	}
	d.stored = true
	if _, domain := define(t, d); domain.first("uuid").text != "1" {
		t.Error("it lost the uuid")
	}
}

// The firmware tells the guest who it is, where there is one that can.
func TestDefineSMBIOS(t *testing.T) {
	const os = `<os><type arch='x86_64'>hvm</type></os>`
	d := meant(`<domain type='kvm'>` + os + `</domain>`)
	d.launch.TLS = true
	text, domain := define(t, d)
	var entries []string
	for _, e := range domain.all("sysinfo", "oemStrings", "entry") {
		entries = append(entries, e.text)
	}
	if got := strings.Join(entries[:5], " "); got != `BUILDMASTER=wss://[fd00::1] BUILDMASTER_PORT=9989 BUILDMASTER_PROTOCOL=msgpack_experimental_v7 WORKERNAME=w&1 WORKERPASS=p"w$'` {
		t.Errorf("the guest reads %s", got)
	}
	encoded, ok := strings.CutPrefix(entries[5], "io.systemd.credential.binary:buildstar.worker=")
	file, err := base64.StdEncoding.DecodeString(encoded)
	if want := "BUILDMASTER=\"wss://[fd00::1]\"\nBUILDMASTER_PORT=\"9989\"\nBUILDMASTER_PROTOCOL=\"msgpack_experimental_v7\"\nWORKERNAME=\"w&1\"\nWORKERPASS=\"p\\\"w\\$'\"\n"; !ok || err != nil || string(file) != want {
		t.Errorf("systemd reads %s, %v", file, err)
	}
	if domain.first("os", "smbios").attr("mode") != "sysinfo" {
		t.Error(text)
	}
	for name, without := range map[string]string{
		"lxc":  `<domain type='lxc'><os><type>exe</type></os></domain>`,
		"s390": `<domain type='kvm'><os><type arch='s390x'>hvm</type></os></domain>`,
		"host": `<domain type='kvm'><os><type arch='x86_64'>hvm</type><smbios mode='host'/></os></domain>`,
	} {
		text, domain := define(t, meant(without))
		if domain.first("sysinfo").has() || domain.first("devices", "serial").has() != (name != "lxc") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"": "want one <domain>", "<domain": "unexpected EOF", "<domain>": "has no end", "<a/>": "want one <domain>", "<domain/><domain/>": "want one <domain>",
		"<domain></b>": "line 1: </b> ends nothing", "</domain>": "ends nothing", "<domain>\n<a>\n</domain>": "line 3: </domain> ends nothing",
		"<domain>&nbsp;</domain>": "invalid character entity", strings.Repeat("<domain>", 200): "nested too deep",
		"<?xml version='1.0' encoding='latin-1'?><domain/>": "want UTF-8",
	} {
		if _, err := parseDomain(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzDefine: whatever is a definition becomes one that tells of the instance.
func FuzzDefine(f *testing.F) {
	for _, text := range []string{plainDomain, smallDomain, `<domain/>`, `<domain><devices/><metadata/></domain>`, `<domain type='kvm'><name/><uuid/><os><type>hvm</type></os><sysinfo type='smbios'/></domain>`} {
		f.Add(text, "/d.qcow2")
	}
	f.Fuzz(func(t *testing.T, text, disk string) {
		d := meant(text)
		d.disk = disk
		out, err := d.define()
		if err != nil {
			return
		}
		domain, err := parseDomain(out)
		if err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		if i, ok := instanceOf(domain); !ok || i.master != "M1" || i.worker != "w&1" || i.attempt != 7 {
			t.Fatalf("%+v:\n%s", i, out)
		}
	})
}

// FuzzOutputs: what programs print never does harm.
func FuzzOutputs(f *testing.F) {
	f.Add("running (booted)\n\n")
	f.Add(`{"virtual-size": 1, "format": "raw"}`)
	f.Add("<volume><capacity unit='bytes'>5</capacity><target><format type='qcow2'/></target></volume>")
	f.Add("Name:   a\nActive:   yes\n")
	f.Add("\x1b[2J\x1b[01;31mred\x1b[0m\n")
	f.Fuzz(func(t *testing.T, out string) {
		parseState(out)
		field(out, "Active")
		printable(out)
		oneLine(out)
		if i, err := parseInfo("/f", out); err == nil && i.format == "" {
			t.Error(i)
		}
		if i, err := parseVolume("/f", out); err == nil && (i.format == "" || i.size < 0) {
			t.Error(i)
		}
		for _, w := range words(out) {
			if strings.TrimSpace(w) != w || w == "" {
				t.Errorf("%q", w)
			}
		}
	})
}
