// What Go's net/http makes of a server: go run client.go URL. Ends with an error that says what is wrong.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"time"
)

var (
	url    = os.Args[1]
	config = &tls.Config{InsecureSkipVerify: true}
	client = &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
)

func must(ok bool, what ...interface{}) {
	if !ok {
		log.Fatalln(what...)
	}
}

// The whole content, and the response it was in.
func ask(request *http.Request) (string, *http.Response, error) {
	response, err := client.Do(request)
	if err != nil {
		return "", nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return string(content), response, err
}

func get(path string) (string, *http.Response, error) {
	request, _ := http.NewRequest("GET", url+path, nil)
	return ask(request)
}

func simple() {
	content, response, err := get("/plaintext")
	must(err == nil && content == "Hello, World!", content, err)
	must(response.Proto == "HTTP/2.0", response.Proto)
	_, response, err = get("/trailers")
	must(err == nil && response.Trailer.Get("X-Lines") == "3", response, err)
	interim := 0
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		interim = code
		return nil
	}}
	request, _ := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", url+"/hints", nil)
	_, _, err = ask(request)
	must(err == nil && interim == 103, interim, err)
}

func uploads() {
	sent := strings.Repeat("0123456789abcdef", 10<<16)
	request, _ := http.NewRequest("POST", url+"/echo", strings.NewReader(sent))
	content, _, err := ask(request)
	must(err == nil && content == sent, "echo", len(content), err)
	request, _ = http.NewRequest("POST", url+"/echo", io.MultiReader(strings.NewReader("abc")))
	request.Trailer = http.Header{"X-Sum": {"1"}}
	content, _, err = ask(request)
	must(err == nil && content == "abc", "trailers", content, err)
	// The answer comes before the content has been sent.
	request, _ = http.NewRequest("POST", url+"/users", bytes.NewReader(make([]byte, 10<<20)))
	_, response, err := ask(request)
	must(err == nil && response.StatusCode == 413, response, err)
}

// Sends only when what was sent before has come back.
func bothDirections() {
	reader, writer := io.Pipe()
	request, _ := http.NewRequest("POST", url+"/echo", reader)
	go writer.Write([]byte("x"))
	response, err := client.Do(request)
	must(err == nil, err)
	piece := make([]byte, 10)
	for round := 0; round < 100; round++ {
		n, err := response.Body.Read(piece)
		must(n == 1 && err == nil, "round", round, n, err)
		go writer.Write([]byte("x"))
	}
	writer.Close()
	response.Body.Close()
}

func many(count int, each func(int) error) {
	var group sync.WaitGroup
	for number := 0; number < count; number++ {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			err := each(number)
			must(err == nil, number, err)
		}(number)
	}
	group.Wait()
}

func main() {
	simple()
	uploads()
	bothDirections()
	many(1000, func(number int) error {
		content, _, err := get(fmt.Sprintf("/users/%d", number))
		if err == nil && content != fmt.Sprintf(`{"user_id":"%d"}`, number) {
			err = fmt.Errorf("content %q", content)
		}
		return err
	})
	many(100, func(number int) error {
		patience := time.Duration(number) * time.Millisecond
		cut, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		request, _ := http.NewRequestWithContext(cut, "GET", url+"/stream/1000000000000", nil)
		if _, _, err := ask(request); cut.Err() == nil {
			return fmt.Errorf("not cut after %v: %v", patience, err)
		}
		return nil
	})
	simple()
}
