// The frontend of the page "Service Discovery". It listens only on the address of its task, so that several tasks can share a
// machine.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"
)

const backendURL = "http://backend-api.app.local:8080"

func main() {
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		client := &http.Client{Timeout: 2 * time.Second}

		// Check backend connectivity
		backendStatus := "unknown"
		resp, err := client.Get(backendURL + "/health")
		if err != nil {
			backendStatus = "unreachable"
		} else {
			defer resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				backendStatus = "ok"
			} else {
				backendStatus = "unhealthy"
			}
		}

		response := map[string]string{
			"status":   "healthy",
			"frontend": "ok",
			"backend":  backendStatus,
		}
		json.NewEncoder(w).Encode(response)
	})

	log.Fatal(http.ListenAndServe(os.Getenv("ECS_TASK_ADDRESS")+":3000", nil))
}
