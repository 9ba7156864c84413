package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "goscorer: %v\n", err)
		os.Exit(1)
	}
}

// run is the whole program: init once, then serve until ctx ends.
func run(ctx context.Context, args []string, getenv func(string) string, logTo io.Writer) error {
	flags := flag.NewFlagSet("goscorer", flag.ContinueOnError)
	flags.SetOutput(logTo)
	port := flags.Int("port", 5001, "the `port` to serve on, unless AMLOCAL_PORT_<port> names another")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addr, err := listenAddress(*port, getenv)
	if err != nil {
		return err
	}
	logger := log.New(logTo, "INFO ", log.LstdFlags|log.LUTC|log.Lmsgprefix)

	model, err := start(ctx, &http.Client{Timeout: time.Minute}, getenv, logger)
	if err != nil {
		return fmt.Errorf("init failed: %w", err)
	}
	logger.Print("Init complete")

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	logger.Printf("Serving on %s", listener.Addr())
	server := &http.Server{Handler: newHandler(model, logger), ReadHeaderTimeout: 10 * time.Second}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-answered // Serve returns at once, requests under way do not
	return nil
}

// start is what a scoring script does in init: the blob, or the secrets it was
// given, then the model.
func start(ctx context.Context, client *http.Client, getenv func(string) string, logger *log.Logger) (*Model, error) {
	show := func() error { return showBlob(ctx, client, getenv, logger) }
	if names := getenv(secretVariables); names != "" {
		show = func() error { return showSecrets(names, getenv, logger) }
	}
	if err := show(); err != nil {
		return nil, err
	}
	model, err := LoadModel(getenv("AZUREML_MODEL_DIR"))
	if err != nil {
		return nil, err
	}
	logger.Print("Model loaded")
	return model, nil
}

// showBlob reads the blob as the endpoint's identity.
func showBlob(ctx context.Context, client *http.Client, getenv func(string) string, logger *log.Logger) error {
	blob, err := blobFromEnv(getenv)
	if err != nil {
		return err
	}
	identity, err := identityFromEnv(getenv)
	if err != nil {
		return err
	}
	token, err := identity.token(ctx, client, storageAudience)
	if err != nil {
		return err
	}
	logger.Print("Token acquired over REST")
	text, err := blob.read(ctx, client, token)
	if err != nil {
		return err
	}
	logger.Printf("Blob contains: %s", text)
	return readSecret(ctx, client, identity, getenv, logger)
}

// readSecret fetches the secret KV_SECRET names, if it does. The value itself is
// not for logs.
func readSecret(ctx context.Context, client *http.Client, identity identity, getenv func(string) string, logger *log.Logger) error {
	ref, ok, err := secretFromEnv(getenv)
	if err != nil || !ok {
		return err
	}
	token, err := identity.token(ctx, client, vaultAudience)
	if err != nil {
		return err
	}
	value, err := ref.read(ctx, client, token)
	if err != nil {
		return err
	}
	logger.Printf("Secret %s has %d characters", ref.name, len(value))
	return nil
}

// listenAddress turns the image's port into where this instance really listens.
// A port given by the starter is on loopback: it is nobody else's business.
func listenAddress(port int, getenv func(string) string) (string, error) {
	name := "AMLOCAL_PORT_" + strconv.Itoa(port)
	given := getenv(name)
	if given == "" {
		return fmt.Sprintf(":%d", port), nil
	}
	if n, err := strconv.ParseUint(given, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%s is %q, not a port", name, given)
	}
	return "127.0.0.1:" + given, nil
}
