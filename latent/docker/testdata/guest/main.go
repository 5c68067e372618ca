// Guest is what runs in the containers of the tests, instead of a worker.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	switch verb := append(os.Args, "")[1]; verb {
	case "env": // show what a worker would go by
		for _, name := range []string{"BUILDMASTER", "BUILDMASTER_PORT", "BUILDMASTER_PROTOCOL", "WORKERNAME", "WORKERPASS"} {
			fmt.Println(name + "=" + os.Getenv(name))
		}
	case "lines": // end, after some lines
		for i := range 150 {
			fmt.Println("line", i+1)
		}
		os.Exit(3)
	case "write": // write a file
		if err := os.WriteFile(os.Args[2], []byte("hello"), 0o644); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "cat":
		data, err := os.ReadFile(os.Args[2])
		fmt.Printf("%s %v\n", data, err)
	case "hostname":
		fmt.Println(os.Hostname())
	case "pid":
		fmt.Println(strconv.Itoa(os.Getpid()))
	default:
		fmt.Println("waiting")
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		<-c
	}
}
