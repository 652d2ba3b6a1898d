// The backend of the page "Service Discovery". It also says its version, and listens only on the address of its task, so that
// several tasks can share a machine.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	http.HandleFunc("/api/data", func(w http.ResponseWriter, r *http.Request) {
		response := map[string]string{
			"hostname":  os.Getenv("HOSTNAME"),
			"timestamp": time.Now().Format(time.RFC3339),
			"message":   "Hello from backend",
			"version":   os.Getenv("VERSION"),
		}
		json.NewEncoder(w).Encode(response)
	})

	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		json.NewEncoder(w).Encode(map[string]string{"status": "healthy"})
	})

	log.Fatal(http.ListenAndServe(os.Getenv("ECS_TASK_ADDRESS")+":8080", nil))
}
