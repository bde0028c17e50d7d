// Prints the flags that are safe for wasmtime here.
//
//	PKG_CONFIG_PATH=/path/to/lib/pkgconfig go run flags.go
package main

/*
#cgo pkg-config: cpuprobe
#include <cpuprobe.h>
*/
import "C"

import (
	"fmt"
	"os"
)

func safeFlags(wasmtime uint) (string, error) {
	var flags [C.CPUPROBE_FLAGS_BYTES]C.char
	length := C.cpuprobe_safe_flags(C.uint(wasmtime), &flags[0], C.size_t(len(flags)))
	if length < 0 {
		return "", fmt.Errorf("cpuprobe: %s", C.GoString(C.cpuprobe_error_text(length)))
	}
	return C.GoStringN(&flags[0], C.int(length)), nil
}

func main() {
	flags, err := safeFlags(0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Print(flags)
}
