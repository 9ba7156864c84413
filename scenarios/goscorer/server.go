package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
)

// maxScoreBody is the body limit of the inference server's front.
const maxScoreBody = 100 << 20

// newHandler serves a loaded model. There is no state in which it serves
// without one, so live and ready are the same answer.
func newHandler(model *Model, logger *log.Logger) http.Handler {
	mux := http.NewServeMux()
	healthy := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Healthy") }
	mux.HandleFunc("GET /health/live", healthy)
	mux.HandleFunc("GET /health/ready", healthy)
	mux.HandleFunc("GET /{$}", healthy)
	mux.HandleFunc("POST /score", func(w http.ResponseWriter, r *http.Request) {
		logger.Print("Request received")
		// Read to the end before answering: an HTTP/1 server may cut off a
		// body that is still being read once the answer has begun.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxScoreBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		var request struct {
			Data [][]float64 `json:"data"`
		}
		if err := json.Unmarshal(body, &request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		result, err := model.Predict(request.Data)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(result)
		logger.Print("Request processed")
	})
	return mux
}
