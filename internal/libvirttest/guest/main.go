// Guest is the first process of a virtual machine of the tests. It loads what the network needs,
// reads from the firmware who it is, as docs/libvirt.md tells guests to, and runs buildstar worker.
// "guest disk" says whether the disk of the machine is fresh, and spoils it.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "disk" {
		if err := disk(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	err := boot()
	fmt.Println("guest: the end:", err)
	off()
}

// boot returns when the worker ends.
func boot() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := errors.Join(os.MkdirAll(m[1], 0o755), unix.Mount(m[0], m[1], m[0], 0, "")); err != nil {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	if err := load(); err != nil {
		return err
	}
	table, err := os.ReadFile("/sys/firmware/dmi/tables/DMI")
	if err != nil {
		return err
	}
	env := strings11(table)
	fmt.Println("guest: I am", env)
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	if strings.Contains(string(line), "guest.mute") {
		fmt.Println("guest: I was told to be mute")
		select {}
	}
	if err := network(); err != nil {
		return err
	}
	go button()
	worker := exec.Command("/buildstar", "worker", "--basedir", "/tmp/worker")
	worker.Env = append(env, "PATH=/", "HOME=/tmp")
	worker.Stdout, worker.Stderr = os.Stdout, os.Stdout
	return worker.Run()
}

// load loads the modules in the order of their list.
func load() error {
	list, err := os.ReadFile("/modules/list")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(list)) {
		f, err := os.Open("/modules/" + name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

// strings11 returns the strings of the tables of type 11 that are variables.
func strings11(table []byte) (vars []string) {
	for len(table) >= 4 && int(table[1]) <= len(table) {
		kind, rest := table[0], table[table[1]:]
		end := bytes.Index(rest, []byte{0, 0})
		if end < 0 {
			return vars
		}
		if kind == 11 {
			for _, s := range strings.Split(string(rest[:end]), "\x00") {
				if strings.HasPrefix(s, "BUILDMASTER") || strings.HasPrefix(s, "WORKER") {
					vars = append(vars, s)
				}
			}
		}
		table = rest[end+2:]
	}
	return vars
}

// network gives the card the address that user networking of qemu expects.
func network() error {
	name := ""
	for range 100 {
		all, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, i := range all {
			if i.Flags&net.FlagLoopback == 0 && len(i.HardwareAddr) == 6 {
				name = i.Name
			}
		}
		if name != "" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for _, a := range []struct {
		request uint
		ip      net.IP
	}{{unix.SIOCSIFADDR, net.IPv4(10, 0, 2, 15)}, {unix.SIOCSIFNETMASK, net.IPv4(255, 255, 255, 0)}} {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = r.SetInet4Addr(a.ip.To4())
		}
		if err == nil {
			err = unix.IoctlIfreq(s, a.request, r)
		}
		if err != nil {
			return fmt.Errorf("address of %q: %w", name, err)
		}
	}
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}

// button turns the machine off when its power button is pressed: virsh shutdown.
func button() {
	for i := range 10 {
		f, err := os.Open(fmt.Sprintf("/dev/input/event%d", i))
		if err != nil {
			continue
		}
		go func() {
			event := make([]byte, 24)
			for {
				if _, err := f.Read(event); err != nil {
					return
				}
				const key, power = 1, 116
				if binary.NativeEndian.Uint16(event[16:]) == key && binary.NativeEndian.Uint16(event[18:]) == power {
					fmt.Println("guest: the button was pressed")
					off()
				}
			}
		}()
	}
}

func off() {
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("guest: power off:", err)
	}
	select {}
}

// disk prints "fresh", or "spoiled" if it was called on this disk before.
func disk() error {
	f, err := os.OpenFile("/dev/vda", os.O_RDWR|syscall.O_SYNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	sector := make([]byte, 512)
	if _, err := f.ReadAt(sector, 0); err != nil {
		return err
	}
	if string(sector[:7]) == "spoiled" {
		fmt.Println("spoiled")
		return nil
	}
	fmt.Println("fresh")
	copy(sector, "spoiled")
	_, err = f.WriteAt(sector, 0)
	return err
}
