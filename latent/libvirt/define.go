package libvirt

import (
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"buildstar/latent"
)

// The namespaces of the metadata: ours, by which instances are found, and that of Buildbot
// (docs/requirements.md B8).
const (
	namespace   = "urn:buildstar:instance"
	authSpace   = "http://buildbot.net/"
	elementName = "buildstar:instance"
	authName    = "buildbot:auth"
)

// credential is the name of systemd's credential.
const credential = "buildstar.worker"

// instance is what the metadata of a domain say.
type instance struct {
	master, worker string
	attempt        int64
	disk, console  string // files that go with it; "": none
}

// instanceOf reads the metadata of a domain; ok is false if no buildstar started it.
func instanceOf(domain *element) (i instance, ok bool) {
	for _, e := range domain.first("metadata").children {
		if e.name == elementName && e.attr("xmlns:buildstar") == namespace {
			attempt, _ := strconv.ParseInt(e.attr("attempt"), 10, 64) // 0 is unknown
			return instance{e.attr("master"), e.attr("worker"), attempt, e.attr("disk"), e.attr("console")}, true
		}
	}
	return instance{}, false
}

func (i instance) String() string {
	return fmt.Sprintf("<%s xmlns:buildstar='%s' master='%s' worker='%s' attempt='%d' disk='%s' console='%s'/>",
		elementName, namespace, escape(i.master), escape(i.worker), i.attempt, escape(i.disk), escape(i.console))
}

// definition is what an instance is made of.
type definition struct {
	text   string // of the domain, as the user or libvirt has it
	stored bool   // libvirt has it: its uuid stays
	instance
	must   string // the disk that the domain must have; "": any
	format string // of the instance's disk
	base   string // what that is on top of; "": nothing
	launch latent.Launch
}

// define returns what virsh create takes. There is no console if the driver cannot log it.
func (d *definition) define() (string, error) {
	domain, err := parseDomain(d.text)
	if err != nil {
		return "", err
	}
	if !isEmulated(domain) {
		d.console = ""
	}
	s := &edits{text: d.text}
	name := "<name>" + escape(d.worker) + "</name>"
	if n := domain.first("name"); n.has() {
		s.replace(n, name)
	} else {
		s.add(domain, name)
	}
	if u := domain.first("uuid"); u.has() && !d.stored {
		s.replace(u, "")
	}
	if domain.first("devices").has() {
		d.defineDevices(s, domain)
	} else {
		text := ""
		if d.disk != "" {
			text = diskElement(&element{}, "", d.disk, d.format)
		}
		if d.console != "" {
			text += d.consoleElement()
		}
		s.add(domain, "<devices>"+text+"</devices>")
	}
	d.addMetadata(s, domain)
	if knowsSMBIOS(domain) {
		d.addSMBIOS(s, domain)
	}
	return s.done(), nil
}

func (d *definition) defineDevices(s *edits, domain *element) {
	devices := domain.first("devices")
	if d.disk != "" {
		if e := bootDisk(domain, d.disk); e.has() {
			s.replace(e, diskElement(e, d.text, d.disk, d.format))
		} else {
			s.add(devices, diskElement(e, "", d.disk, d.format))
		}
	}
	if d.console == "" {
		return
	}
	log := fmt.Sprintf("<log file='%s' append='on'/>", escape(d.console))
	lines := domain.all("devices", "serial")
	if len(lines) == 0 {
		lines = slices.DeleteFunc(domain.all("devices", "console"), func(e *element) bool {
			kind := e.first("target").attr("type")
			return kind != "" && kind != "serial"
		})
	}
	switch {
	case len(lines) == 0:
		s.add(devices, d.consoleElement())
	case lines[0].first("log").has():
		s.replace(lines[0].first("log"), log)
	default:
		s.add(lines[0], log)
	}
}

func (d *definition) consoleElement() string {
	return fmt.Sprintf("<serial type='pty'><log file='%s' append='on'/></serial>", escape(d.console))
}

// bootDisk returns the disk that the instance's takes the place of: the one that it has
// already, or the first.
func bootDisk(domain *element, file string) *element {
	var disks []*element
	for _, e := range domain.all("devices", "disk") {
		if device := e.attr("device"); device != "" && device != "disk" {
			continue // a CD
		}
		if e.first("source").attr("file") == file {
			return e
		}
		disks = append(disks, e)
	}
	if len(disks) == 0 {
		return &element{}
	}
	return disks[0]
}

// diskElement is a disk with another file, or a new one if old has nothing.
func diskElement(old *element, text, file, format string) string {
	attrs, kept := "", "<target dev='vda' bus='virtio'/>"
	if old.has() {
		kept = ""
		for _, c := range old.children {
			switch c.name {
			case "driver":
				for _, a := range c.attrs {
					if n := rawName(a.Name); n != "name" && n != "type" {
						attrs += fmt.Sprintf(" %s='%s'", n, escape(a.Value))
					}
				}
			case "source", "backingStore", "mirror", "auth", "encryption":
			default:
				kept += text[c.start:c.after]
			}
		}
	}
	return fmt.Sprintf("<disk type='file' device='disk'><driver name='qemu' type='%s'%s/><source file='%s'/>%s</disk>", escape(format), attrs, escape(file), kept)
}

// addMetadata writes down who the instance is, in place of what says so already.
func (d *definition) addMetadata(s *edits, domain *element) {
	for _, e := range domain.first("metadata").children {
		if e.name == elementName || e.name == authName {
			s.replace(e, "")
		}
	}
	auth := fmt.Sprintf("<%s xmlns:buildbot='%s' username='%s' password='%s' master='%s'/>",
		authName, authSpace, escape(d.worker), escape(d.launch.Password), escape(d.launch.Address()))
	s.addTo(domain, "metadata", d.instance.String()+auth)
}

// isEmulated reports whether qemu runs a domain: other drivers know neither logs of consoles nor
// strings of the firmware.
func isEmulated(domain *element) bool {
	return slices.Contains([]string{"qemu", "kvm", "hvf"}, domain.attr("type"))
}

// knowsSMBIOS reports whether libvirt can give strings to the firmware of such a machine.
func knowsSMBIOS(domain *element) bool {
	if !isEmulated(domain) {
		return false
	}
	kind := domain.first("os", "type")
	switch kind.attr("arch") {
	case "", "x86_64", "i686", "aarch64":
	default:
		return false
	}
	mode := domain.first("os", "smbios").attr("mode")
	return kind.text == "hvm" && (mode == "" || mode == "sysinfo")
}

// addSMBIOS lets the system in the domain read who it is.
func (d *definition) addSMBIOS(s *edits, domain *element) {
	entries := ""
	for _, text := range append(variables(d.launch), "io.systemd.credential.binary:"+credential+"="+
		base64.StdEncoding.EncodeToString([]byte(environmentFile(d.launch)))) {
		entries += "<entry>" + escape(text) + "</entry>"
	}
	if !domain.first("os", "smbios").has() {
		s.add(domain.first("os"), "<smbios mode='sysinfo'/>")
	}
	for _, e := range domain.all("sysinfo") {
		if e.attr("type") == "smbios" {
			s.addTo(e, "oemStrings", entries)
			return
		}
	}
	s.add(domain, "<sysinfo type='smbios'><oemStrings>"+entries+"</oemStrings></sysinfo>")
}

// variables say to the worker in the domain who it is and where its master is, by the names
// that Buildbot's images have. Only our own worker knows wss.
func variables(in latent.Launch) []string {
	host := in.Host
	if in.TLS {
		host = "wss://" + strings.TrimSuffix(net.JoinHostPort(host, ""), ":")
	}
	return []string{
		"BUILDMASTER=" + host, "BUILDMASTER_PORT=" + strconv.Itoa(in.Port), "BUILDMASTER_PROTOCOL=msgpack_experimental_v7",
		"WORKERNAME=" + in.Worker, "WORKERPASS=" + in.Password,
	}
}

// environmentFile is the same as systemd and shells read it.
func environmentFile(in latent.Launch) string {
	text := ""
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")
	for _, v := range variables(in) {
		name, value, _ := strings.Cut(v, "=")
		text += name + `="` + quote.Replace(value) + "\"\n"
	}
	return text
}
