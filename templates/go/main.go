// {{name}}: how many entries a folder has.
//
// A plugin prints JSON to stdout; whatever it says to stderr ends up in the log. Exit with 0 when
// the looking worked, also when what it found is bad: that is what `status` is for.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

type metric struct {
	Name  string            `json:"name"`
	Type  string            `json:"type"`
	Value *int              `json:"value"` // nil becomes null: an explicit gap
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
	entries := metric{Name: "entries", Type: "integer", Tags: map[string]string{"folder": settings.Folder}}
	if found, err := os.ReadDir(settings.Folder); err != nil {
		report.Status, report.Message = "critical", fmt.Sprint("cannot look into it: ", err)
		fmt.Fprintln(os.Stderr, "E!", report.Message)
	} else {
		count := len(found)
		entries.Value = &count
	}
	report.Metrics = []metric{entries}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, "E!", err)
		os.Exit(1)
	}
}
