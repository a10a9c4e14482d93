#!/bin/sh
# package: net/url of Go 1.26.10 (standard library)
#
# The guess: a URL that url.Parse accepts goes out as it was written, or with what may
# not stand in it percent-encoded: https://h/a%2Fb|c as /a%2Fb%7Cc.
#
# The behaviour: one character that has to be encoded makes RequestURI and String
# forget how all others were written. They encode the *decoded* path anew, so the %2F
# turns into a slash: /a/b%7Cc, another resource. In the query, on the other hand,
# nothing is encoded at all: spaces, quotes and bytes that are not ASCII go out raw.
#
# Why it matters: an object's key or a token in a path is often encoded so. Who lets
# net/url repair a URL sends it elsewhere, without an error. Encode the text byte by
# byte before it is parsed.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat > go.mod <<'MOD'
module slash
go 1.26
toolchain go1.26.10
MOD
cat > main.go <<'GO'
package main

import (
	"fmt"
	"net/url"
	"os"
	"runtime"
)

func main() {
	fmt.Println(runtime.Version())
	ok := true
	for _, c := range []struct{ text, uri string }{
		{"https://h/a%2Fb", "/a%2Fb"},              // nothing to encode: as it was written
		{"https://h/a%2Fb|c", "/a/b%7Cc"},          // the encoded slash is lost
		{"https://h/a%2Fb/ü", "/a/b/%C3%BC"},       // likewise
		{"https://h/a%2Fb%7Cc", "/a%2Fb%7Cc"},      // what it could have been
		{"https://h/?q=ü|\" x", "/?q=ü|\" x"},      // nothing is encoded in a query
	} {
		u, err := url.Parse(c.text)
		if err != nil {
			fmt.Println(c.text, err)
			os.Exit(1)
		}
		fmt.Printf("%-24s goes out as %s\n", c.text, u.RequestURI())
		ok = ok && u.RequestURI() == c.uri
	}
	if !ok {
		fmt.Println("not as stated")
		os.Exit(1)
	}
}
GO
GOTOOLCHAIN=auto GOFLAGS=-mod=mod go run .
