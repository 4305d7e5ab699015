// Command pair holds two SQLites, and the Rust standard library twice: libxet's, and those of others.
package main

// extern const char *other_rust(void);
// #cgo LDFLAGS: ${SRCDIR}/libother.a
import "C"

import (
	"database/sql"
	"fmt"
	"log"

	_ "github.com/mattn/go-sqlite3"
	xet "github.com/xet-ffi/xet-ffi/go"
)

func main() {
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	var version string
	if err := db.QueryRow("select sqlite_version()").Scan(&version); err != nil {
		log.Fatal(err)
	}
	fmt.Println("SQLite", version)
	fmt.Println("Rust", C.GoString(C.other_rust()))
	fmt.Println("libxet", xet.Version())
}
