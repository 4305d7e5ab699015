// Command modzip packs a Go module as a module proxy serves it.
//
//	modzip FOLDER MODULE VERSION ZIP
package main

import (
	"log"
	"os"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("modzip: ")
	if len(os.Args) != 5 {
		log.Fatal("usage: modzip FOLDER MODULE VERSION ZIP")
	}
	folder, version := os.Args[1], module.Version{Path: os.Args[2], Version: os.Args[3]}
	file, err := os.Create(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	if err := zip.CreateFromDir(file, version, folder); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
}
