package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Model is the linear regression train.py exports beside its pickle.
type Model struct {
	Features     int       `json:"features"`
	Intercept    float64   `json:"intercept"`
	Coefficients []float64 `json:"coefficients"`
}

// LoadModel reads model/coefficients.json below dir, the deployment's
// AZUREML_MODEL_DIR: a model folder keeps its own name as the first level.
func LoadModel(dir string) (*Model, error) {
	if dir == "" {
		return nil, errors.New("AZUREML_MODEL_DIR is not set")
	}
	path := filepath.Join(dir, "model", "coefficients.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	var m Model
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	if m.Features == 0 || m.Features != len(m.Coefficients) {
		return nil, fmt.Errorf("model %s: %d features but %d coefficients", path, m.Features, len(m.Coefficients))
	}
	return &m, nil
}

// Predict gives one number for each row.
func (m *Model) Predict(rows [][]float64) ([]float64, error) {
	out := make([]float64, len(rows))
	for i, row := range rows {
		if len(row) != m.Features {
			return nil, fmt.Errorf("row %d has %d features, the model expects %d", i, len(row), m.Features)
		}
		out[i] = m.Intercept
		for j, x := range row {
			out[i] += m.Coefficients[j] * x
		}
	}
	return out, nil
}
