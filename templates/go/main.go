// {{name}}: how many entries a folder has, and what part of them is hidden.
//
// A plugin prints JSON to stdout: metrics with a name (letters, digits and _), a value (null is a gap), a
// type (integer, float, percent, boolean, string, or counter: what only grows, shown as a rate) and tags,
// which tell alike ones apart. What it says to stderr ends up in the log. Exit with 0 when the looking
// worked, also when what it found is bad: that is what `status` is for. Any other code says that nothing
// is known.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type metric struct {
	Name  string            `json:"name"`
	Type  string            `json:"type"`
	Value *float64          `json:"value"` // nil becomes null: an explicit gap
	Tags  map[string]string `json:"tags,omitempty"`
}

type document struct {
	Status  string   `json:"status"`
	Message string   `json:"message,omitempty"`
	Metrics []metric `json:"metrics"`
}

// settings are those of talaia-plugin.toml.
type settings struct {
	Folder string `json:"folder"`
}

func readSettings() (settings, error) {
	found := settings{Folder: "/tmp"}
	path := os.Getenv("TALAIA_CONFIG")
	if path == "" {
		return found, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return found, err
	}
	return found, json.Unmarshal(text, &found)
}

func main() {
	settings, err := readSettings()
	if err != nil {
		fmt.Fprintln(os.Stderr, "E! cannot read the settings:", err)
		os.Exit(1)
	}
	report := document{Status: "ok"}
	tags := map[string]string{"folder": settings.Folder}
	entries := metric{Name: "entries", Type: "integer", Tags: tags}
	hidden := metric{Name: "hidden", Type: "percent", Tags: tags}
	if found, err := os.ReadDir(settings.Folder); err != nil {
		report.Status, report.Message = "critical", fmt.Sprint("cannot look into it: ", err)
		fmt.Fprintln(os.Stderr, "E!", report.Message)
	} else {
		all, dotted := float64(len(found)), 0.0
		for _, entry := range found {
			if strings.HasPrefix(entry.Name(), ".") {
				dotted++
			}
		}
		entries.Value = &all
		// There is no part of nothing, and NaN is no JSON.
		if all > 0 {
			part := 100 * dotted / all
			hidden.Value = &part
		}
	}
	report.Metrics = []metric{entries, hidden}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, "E!", err)
		os.Exit(1)
	}
}
